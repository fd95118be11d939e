// Decides which requests the client listener accepts, in the protocol's order of refusals: Host, Origin, the /health exemption,
// bearer. Also decides whether a client counts as local.
import type { IncomingMessage, ServerResponse } from 'node:http';
import {
  type AccessPolicy,
  checkBearer,
  checkHost,
  checkOrigin,
  isHealthExempt,
  isLoopbackAddress,
  isLoopbackBind,
  isPreflight,
} from '../../daemon/contract/access.ts';
import { ApiError, fail } from '../../daemon/contract/errors.ts';
import type { Peer } from '../../daemon/contract/wire.ts';

export interface ListenerPolicy extends AccessPolicy {
  /** Addresses of the proxies whose `X-Forwarded-For` is believed; `unix` stands for a peer on a unix socket. */
  readonly trustedProxies: readonly string[];
}

/**
 * Lets a request pass or refuses it. CORS headers of an allowed origin are set on `res` first, so that later refusals have them
 * too.
 * @returns `answered` when the request was a preflight, which is answered here.
 * @throws ApiError 403 (host, origin), 401 (bearer).
 */
export function checkAccess(
  policy: ListenerPolicy,
  req: IncomingMessage,
  res: ServerResponse,
): 'passed' | 'answered' {
  checkHost(policy, req.headers.host);
  applyOrigin(policy, req, res);
  if (res.hasHeader('Access-Control-Allow-Origin') && isPreflight(req.method, req.headers)) {
    res.writeHead(204).end();
    return 'answered';
  }
  if (!isHealthExempt(policy, req)) checkBearer(policy.token, req.headers.authorization);
  return 'passed';
}

/** Sets the CORS headers that the request's origin gets. @throws ApiError 403 for an origin that is not allowed. */
function applyOrigin(policy: ListenerPolicy, req: IncomingMessage, res: ServerResponse): void {
  if (isAuthenticatedSelf(policy, req)) return;
  try {
    const verdict = checkOrigin(policy, req.headers.origin);
    for (const [name, value] of Object.entries(verdict.corsHeaders)) res.setHeader(name, value);
  } catch (error) {
    res.setHeader('Vary', 'Origin');
    throw error;
  }
}

/**
 * Whether the request comes from a page of the listener's own origin. Behind a public name the listener cannot know its origin,
 * so Origin and Host have to agree and the page has to show the token.
 */
function isAuthenticatedSelf(policy: ListenerPolicy, req: IncomingMessage): boolean {
  const { origin, host, authorization } = req.headers;
  if (origin === undefined || host === undefined || policy.token === undefined) return false;
  if (policy.listener === 'unix' || isLoopbackBind(policy)) return false;
  if (!['http', 'https'].some((scheme) => origin.toLowerCase() === `${scheme}://${host.toLowerCase()}`))
    return false;
  try {
    checkBearer(policy.token, authorization);
    return true;
  } catch (error) {
    if (error instanceof ApiError) return false;
    throw error;
  }
}

/**
 * Whether the client is on this machine. A request that was forwarded by an untrusted peer is remote, whatever its socket says:
 * a local reverse proxy must not lend its loopback address to its own clients.
 */
export function peerOf(policy: ListenerPolicy, req: IncomingMessage): Peer {
  const address = req.socket.remoteAddress;
  const isForwarded = req.headers.forwarded !== undefined || req.headers['x-forwarded-for'] !== undefined;
  if (!isForwarded) return isLoopbackAddress(address) ? 'loopback' : 'remote';
  if (!isTrustedProxy(policy, address)) return 'remote';
  const client = forwardedFor(req).findLast((hop) => !isTrustedProxy(policy, hop));
  return client !== undefined && isLoopbackAddress(client) ? 'loopback' : 'remote';
}

function isTrustedProxy(policy: ListenerPolicy, address: string | undefined): boolean {
  const plain = (address ?? '').replace(/^::ffff:/i, '');
  return policy.trustedProxies.includes(plain === '' ? 'unix' : plain);
}

/**
 * Addresses in X-Forwarded-For, the nearest hop last. The `Forwarded` header (RFC 7239) is not read: a client that only
 * `Forwarded` names counts as remote.
 */
function forwardedFor(req: IncomingMessage): string[] {
  const header = req.headers['x-forwarded-for'];
  const text = Array.isArray(header) ? header.join(',') : (header ?? '');
  return text
    .split(',')
    .map((hop) => hop.trim())
    .filter((hop) => hop !== '');
}

/**
 * Guards the routes that change which workspaces and daemons there are. If the coordinator has no token, only a client on this
 * machine may use such a route.
 * @throws ApiError 401 `token_required`.
 */
export function requireTrusted(policy: ListenerPolicy, peer: Peer): void {
  if (policy.token === undefined && peer !== 'loopback')
    throw fail('token_required', 'This route needs a token; start the coordinator with --token');
}
