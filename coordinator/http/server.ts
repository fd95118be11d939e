// The listener: request id, guard, route, then either straight on to a daemon (hot) or to the coordinator's own routes.
import { randomUUID } from 'node:crypto';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type Router from '@koa/router';
import type { Clock } from '../../daemon/contract/clock.ts';
import { REQUEST_ID_HEADER } from '../../daemon/contract/control.ts';
import { sendError } from '../../daemon/contract/envelope.ts';
import { fail } from '../../daemon/contract/errors.ts';
import type { Limits } from '../../daemon/contract/limits.ts';
import { type Log, truncated } from '../../daemon/contract/log.ts';
import { acceptedRequestId, WORKSPACE_HEADER } from '../../daemon/contract/wire.ts';
import { type RoutedRequest, type Routing, routeOf } from '../domain/routing.ts';
import { closeServer } from './close-server.ts';
import { type DestinationDeps, destinationOf } from './destination.ts';
import type { Forwarder } from './forward.ts';
import { checkAccess, type ListenerPolicy, peerOf, requireTrusted } from './guard.ts';
import { createKoaApp, type RequestHandler, sendUnknownRoute } from './koa-app.ts';
import { ClientGone, type RequestContext, type RequestContexts, signalOf } from './request-context.ts';

/** There is one token, and whoever was admitted has shown it. */
const DEFAULT_TOKEN_NAME = 'default';

export interface ClientListenerDeps {
  /** Asked for each request: the port is known only once the server listens. */
  readonly policy: () => ListenerPolicy;
  readonly places: DestinationDeps;
  readonly forwarder: Forwarder;
  readonly routes: Router;
  readonly admin: Router;
  /** Shared with `routes`. */
  readonly contexts: RequestContexts;
  readonly limits: Limits;
  readonly clock: Clock;
  readonly log: Log;
}

export interface ClientListener {
  /** The composition root listens with it, on a TCP port or a unix socket. */
  readonly server: Server;
  /** Ends event streams cleanly, then the server within `graceMs`. Idempotent. */
  close(graceMs: number): Promise<void>;
}

export function createClientListener(deps: ClientListenerDeps): ClientListener {
  const own = createKoaApp([deps.admin, deps.routes], deps.limits.maxBodyBytes, deps.log);
  const listen = (req: IncomingMessage, res: ServerResponse) => {
    accept(deps, own, req, res).catch((error: unknown) => {
      deps.log.error({ err: error }, 'request handling failed');
      res.destroy();
    });
  };
  const { limits } = deps;
  const server = createServer(
    {
      requestTimeout: limits.requestHeadTimeoutMs,
      headersTimeout: limits.requestHeadTimeoutMs,
      keepAliveTimeout: limits.keepAliveTimeoutMs,
      // Node checks for slow requests only this often; its default of 30 s would double the limit.
      connectionsCheckingInterval: Math.max(10, Math.min(30_000, Math.ceil(limits.requestHeadTimeoutMs / 4))),
    },
    listen,
  );
  // Handled like any request; whoever reads the body says "100 Continue" (forward.ts, or the first read below).
  server.on('checkContinue', listen);
  if (limits.maxConnections > 0) server.maxConnections = limits.maxConnections;
  return {
    server,
    close(graceMs) {
      deps.forwarder.endStreams('the coordinator is stopping');
      return closeServer(server, graceMs, deps.clock);
    },
  };
}

async function accept(
  deps: ClientListenerDeps,
  own: RequestHandler,
  req: IncomingMessage,
  res: ServerResponse,
): Promise<void> {
  const requestId = acceptedRequestId(req.headers[REQUEST_ID_HEADER]) ?? randomUUID();
  res.setHeader('X-Request-Id', requestId);
  logWhenDone(deps, requestId, req, res);
  try {
    const policy = deps.policy();
    if (checkAccess(policy, req, res) === 'answered') return;
    const route = known(routeOf(req.method ?? 'GET', req.url ?? '', workspaceHeader(req)));
    if (route === undefined) {
      sendUnknownRoute(res, req.method ?? 'GET', pathOf(req));
      return;
    }
    const context: RequestContext = {
      requestId,
      peer: peerOf(policy, req),
      ...(policy.token === undefined ? {} : { tokenName: DEFAULT_TOKEN_NAME }),
      route,
      signal: signalOf(res),
    };
    if (route.class === 'admin') requireTrusted(policy, context.peer);
    await dispatch(deps, own, context, req, res);
  } catch (error) {
    if (error instanceof ClientGone) return;
    sendError(res, error, deps.log, { requestId });
  }
}

async function dispatch(
  deps: ClientListenerDeps,
  own: RequestHandler,
  context: RequestContext,
  req: IncomingMessage,
  res: ServerResponse,
): Promise<void> {
  const destination = await destinationOf(deps.places, context.route, context.signal);
  if (destination.kind === 'done') {
    req.resume();
    res.writeHead(204).end();
    return;
  }
  if (destination.kind === 'own') {
    deps.contexts.set(req, context);
    if (req.headers.expect !== undefined) res.writeContinue();
    // Less a /w prefix, so that one router serves both forms.
    req.url = context.route.path;
    await own(req, res);
    return;
  }
  deps.forwarder.forward(req, res, {
    ...context,
    endpoint: destination.endpoint,
    path: context.route.path,
    relay: context.route.relay,
    bodyCapBytes: deps.limits.maxBodyBytes,
  });
}

/** @throws ApiError 400 for a malformed target. */
function known(routing: Routing): RoutedRequest | undefined {
  if (routing === 'malformed') throw fail('invalid_request', 'Malformed URL encoding');
  return routing === 'unknown' ? undefined : routing;
}

function workspaceHeader(req: IncomingMessage): string | undefined {
  const value = req.headers[WORKSPACE_HEADER];
  return Array.isArray(value) ? value[0] : value;
}

function pathOf(req: IncomingMessage): string {
  return (req.url ?? '').split('?', 1)[0] ?? '';
}

function logWhenDone(
  deps: ClientListenerDeps,
  requestId: string,
  req: IncomingMessage,
  res: ServerResponse,
): void {
  const startedAtMs = deps.clock.monotonicMs();
  // The path alone: a query may hold what a client typed.
  const path = truncated(pathOf(req));
  res.once('close', () => {
    const ms = Math.round(deps.clock.monotonicMs() - startedAtMs);
    const isCut = !res.writableFinished;
    deps.log.debug({ requestId, method: req.method, path, status: res.statusCode, ms, isCut }, 'request');
  });
}
