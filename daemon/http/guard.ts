// Decides which requests the daemon lets in. A stand-alone daemon checks Host, Origin and token, in the protocol's order. A
// coordinator's daemon checks only the incarnation's secret, and believes the trust headers of a request that has the secret.
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

/** By what the daemon judges a request: the access rules for clients, or the secret that only its coordinator has. */
export type DaemonGuardPolicy =
  | { readonly kind: 'standalone'; readonly access: () => AccessPolicy }
  | { readonly kind: 'coordinated'; readonly secret: string };

export type GuardResult =
  | {
      readonly kind: 'admitted';
      readonly peer: Peer;
      /** Whether the client has shown a token, to this daemon or to its coordinator. */
      readonly hasToken: boolean;
    }
  /** The request was a CORS preflight, and the guard has written the response. */
  | { readonly kind: 'answered' };

/** The policy for this configuration. @param port returns the listener's port; called per request, as it is bound later. */
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
 * Checks a request before any other part of the daemon reads it. Writes the response only of a CORS preflight; may set CORS
 * headers on `res`.
 * @throws ApiError 401 for a wrong or missing bearer, 403 for a refused Host or Origin.
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
