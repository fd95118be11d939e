// Which requests this daemon lets in. A stand-alone daemon makes the protocol's checks in their order. Behind a coordinator
// only the incarnation's secret counts, and with it the coordinator's headers are believed.
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { DaemonConfig } from '../config.ts';
import {
  type AccessPolicy,
  checkBearer,
  checkHost,
  checkOrigin,
  isHealthExempt,
  isLoopbackAddress,
  isPreflight,
} from '../contract/access.ts';
import { PEER_HEADER, TOKEN_NAME_HEADER } from '../contract/control.ts';
import { ApiError } from '../contract/errors.ts';
import type { Peer } from '../contract/wire.ts';
import { headerOf } from './call.ts';

/** What a request has to show. */
export type DaemonGuardPolicy =
  | { readonly kind: 'standalone'; readonly access: () => AccessPolicy }
  | { readonly kind: 'coordinated'; readonly secret: string };

export type GuardResult =
  | {
      readonly kind: 'admitted';
      readonly peer: Peer;
      /** Whether the client has shown a token. */
      readonly hasToken: boolean;
    }
  /** The guard has answered the request itself: a CORS preflight. */
  | { readonly kind: 'answered' };

/** @param port the listener's port. It is asked for with each request, because the listener may not be open yet. */
export function guardPolicy(config: DaemonConfig, port: () => number): DaemonGuardPolicy {
  const { coordinated, listen, token, requireAuth, allowedOrigins } = config;
  if (coordinated !== undefined) return { kind: 'coordinated', secret: coordinated.secret };
  const boundHost = listen.kind === 'tcp' ? listen.host : '';
  return {
    kind: 'standalone',
    access: () => ({ listener: listen.kind, boundHost, port: port(), token, requireAuth, allowedOrigins }),
  };
}

/**
 * Checks a request before any other part reads it. Answers it only if it is a preflight; may set CORS headers.
 * @throws ApiError 401, 403.
 */
export function checkCaller(
  policy: DaemonGuardPolicy,
  req: IncomingMessage,
  res: ServerResponse,
): GuardResult {
  if (policy.kind === 'coordinated') {
    checkBearer(policy.secret, req.headers.authorization);
    const peer = headerOf(req, PEER_HEADER) === 'remote' ? 'remote' : 'loopback';
    return { kind: 'admitted', peer, hasToken: headerOf(req, TOKEN_NAME_HEADER) !== undefined };
  }
  return admitStandalone(policy.access(), req, res);
}

function admitStandalone(access: AccessPolicy, req: IncomingMessage, res: ServerResponse): GuardResult {
  const { corsHeaders, isOwn } = checkedOrigin(access, req, res);
  if (isOwn) delete req.headers.origin;
  for (const [name, value] of Object.entries(corsHeaders)) res.setHeader(name, value);
  if (Object.keys(corsHeaders).length > 0 && isPreflight(req.method, req.headers)) {
    res.writeHead(204).end();
    return { kind: 'answered' };
  }
  if (!isHealthExempt(access, req)) checkBearer(access.token, req.headers.authorization);
  const peer = isLoopbackAddress(req.socket.remoteAddress) ? 'loopback' : 'remote';
  return { kind: 'admitted', peer, hasToken: access.token !== undefined };
}

function checkedOrigin(access: AccessPolicy, req: IncomingMessage, res: ServerResponse) {
  checkHost(access, req.headers.host);
  try {
    return checkOrigin(access, req.headers.origin);
  } catch (error) {
    if (error instanceof ApiError) res.setHeader('Vary', 'Origin');
    throw error;
  }
}
