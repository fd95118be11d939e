// Which requests a listener lets in: the pure rules of Host, Origin and bearer, in the order of the protocol. The listeners of
// both processes apply these rules.
import { createHash, timingSafeEqual } from 'node:crypto';
import { failPlain } from './errors.ts';

export interface AccessPolicy {
  /** `tcp` listeners check Host and Origin; on `unix` the file mode already decides who connects. */
  readonly listener: 'tcp' | 'unix';
  /** Host that the listener was asked to bind. */
  readonly boundHost: string;
  readonly port: number;
  readonly token: string | undefined;
  /** Whether `/health` needs the bearer too, also on loopback. */
  readonly requireAuth: boolean;
  /** The foreign origins that are let in, in canonical form; `*` stands for all. */
  readonly allowedOrigins: readonly string[];
}

export interface OriginVerdict {
  /** Whether the origin is the listener's own. The caller then removes the Origin header from the request. */
  readonly isOwn: boolean;
  /** Headers for the answer to an allowed foreign origin; empty for every other request. */
  readonly corsHeaders: Readonly<Record<string, string>>;
}

/** Whether the address is 127/8, ::1 or IPv4-mapped loopback. A peer without address (on a unix socket) is loopback. */
export function isLoopbackAddress(address: string | undefined): boolean {
  if (address === undefined || address === '') return true;
  const plain = address.replace(/^::ffff:/i, '');
  return plain === '::1' || plain === 'localhost' || /^127\.\d+\.\d+\.\d+$/.test(plain);
}

/** A host as sockets take it: without the brackets that URLs put around an IPv6 address. */
export function bareHost(host: string): string {
  return host.replace(/^\[(.*)\]$/, '$1');
}

/** A host as URLs and Host headers have it: an IPv6 address in brackets. */
export function urlHost(host: string): string {
  return host.includes(':') ? `[${bareHost(host)}]` : host;
}

/** Whether the listener can be reached from this machine only. */
export function isLoopbackBind(policy: AccessPolicy): boolean {
  return policy.listener === 'unix' || isLoopbackAddress(bareHost(policy.boundHost));
}

function ownHosts({ boundHost }: AccessPolicy): string[] {
  return ['localhost', '127.0.0.1', '[::1]', 'host.docker.internal', urlHost(boundHost).toLowerCase()];
}

/**
 * Checks the Host header against the names of this machine, on loopback binds only (a guard against DNS rebinding).
 * @throws ApiError 403.
 */
export function checkHost(policy: AccessPolicy, host: string | undefined): void {
  if (policy.listener === 'unix' || !isLoopbackBind(policy)) return;
  const given = (host ?? '').toLowerCase();
  const isBarePortAllowed = policy.port === 80 || policy.port === 443;
  const isKnown = ownHosts(policy).some(
    (own) => given === `${own}:${policy.port}` || (isBarePortAllowed && given === own),
  );
  if (!isKnown) throw failPlain(403, 'Invalid Host header');
}

/**
 * Checks the Origin header: a request without an origin or with the listener's own passes, a listed origin passes with CORS
 * headers, `null` and any other origin is refused.
 * @throws ApiError 403; the caller adds `Vary: Origin`.
 */
export function checkOrigin(policy: AccessPolicy, origin: string | undefined): OriginVerdict {
  const none = { isOwn: false, corsHeaders: {} };
  if (policy.listener === 'unix' || origin === undefined) return none;
  const given = origin.toLowerCase();
  if (isOwnOrigin(policy, given)) return { isOwn: true, corsHeaders: {} };
  const isListed = policy.allowedOrigins.includes('*') || policy.allowedOrigins.includes(given);
  if (given === 'null' || !isListed) throw failPlain(403, 'Request denied by CORS policy');
  return { isOwn: false, corsHeaders: corsHeaders(origin) };
}

function isOwnOrigin(policy: AccessPolicy, origin: string): boolean {
  return ownHosts(policy).some((host) =>
    ['http', 'https'].some((scheme) => {
      const isDefaultPort = policy.port === (scheme === 'http' ? 80 : 443);
      return (
        origin === `${scheme}://${host}:${policy.port}` || (isDefaultPort && origin === `${scheme}://${host}`)
      );
    }),
  );
}

/** Headers that a page may send: the five of the reference server, in its spelling, then those that only this server reads. */
const ALLOWED_HEADERS = [
  'Authorization',
  'Content-Type',
  'X-Qwen-Client-Id',
  'Last-Event-ID',
  'X-Qwen-Event-Epoch',
  'X-Qwen-Workspace',
  'X-Request-Id',
];

/** Headers that a page may read: the three of the reference server, then those that only this server sends. */
const EXPOSED_HEADERS = [
  'Retry-After',
  'X-Qwen-Event-Epoch',
  'X-Qwen-SSE-Stream-Id',
  'X-Request-Id',
  'X-RateLimit-Limit',
  'X-RateLimit-Remaining',
  'X-RateLimit-Reset',
];

function corsHeaders(origin: string): Record<string, string> {
  return {
    'Access-Control-Allow-Origin': origin,
    Vary: 'Origin',
    'Access-Control-Allow-Methods': 'GET, POST, PATCH, DELETE, OPTIONS',
    'Access-Control-Allow-Headers': ALLOWED_HEADERS.join(', '),
    'Access-Control-Max-Age': '86400',
    'Access-Control-Expose-Headers': EXPOSED_HEADERS.join(', '),
  };
}

/** Whether an OPTIONS request is a CORS preflight, answered 204 before authentication. */
export function isPreflight(method: string | undefined, headers: Readonly<Record<string, unknown>>): boolean {
  return (
    method === 'OPTIONS' &&
    (headers['access-control-request-method'] !== undefined ||
      headers['access-control-request-headers'] !== undefined)
  );
}

/** Whether the request passes without a bearer: `/health` on loopback, in each spelling of the path that its route accepts. */
export function isHealthExempt(
  policy: AccessPolicy,
  { method, url }: { readonly method?: string | undefined; readonly url?: string | undefined },
): boolean {
  const isHealth = (method === 'GET' || method === 'HEAD') && /^\/health\/?(?:\?|$)/.test(url ?? '');
  return isHealth && isLoopbackBind(policy) && !policy.requireAuth;
}

/**
 * Checks the bearer of an Authorization header; passes when no token is configured.
 * @throws ApiError 401 with the same body for every cause.
 */
export function checkBearer(token: string | undefined, authorization: string | undefined): void {
  if (token === undefined) return;
  const given = /^bearer[ \t]+(.*)$/is.exec(authorization ?? '')?.[1];
  if (given === undefined || !isSameSecret(given, token)) throw failPlain(401, 'Unauthorized');
}

/** Whether two secrets are the same; the time that the comparison takes depends on neither. */
function isSameSecret(given: string, expected: string): boolean {
  const digest = (text: string) => createHash('sha256').update(text).digest();
  return timingSafeEqual(digest(given), digest(expected));
}
