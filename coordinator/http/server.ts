// The listener for clients. A request gets an id, passes the guard and is routed; then it goes straight on to a daemon, as most
// requests do, or to the coordinator's own routes.
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
import type { EventStreams } from './event-streams.ts';
import type { Forwarder } from './forward.ts';
import { checkAccess, type ListenerPolicy, peerOf, requireTrusted } from './guard.ts';
import { createKoaApp, type RequestHandler, sendUnknownRoute } from './koa-app.ts';
import type { RequestContexts } from './own-requests.ts';
import { ClientGone, type RequestContext, signalOf } from './request-context.ts';

/** Name that daemons get for the coordinator's only token, which every accepted request has shown. */
const DEFAULT_TOKEN_NAME = 'default';

/** The routes that the coordinator answers itself, with the contexts that their handlers look up. */
export interface OwnRoutes {
  /** Tried in this order: the first router that has the route answers. */
  readonly routers: readonly Router[];
  /** Filled by the listener for the requests that the routers get. */
  readonly contexts: RequestContexts;
}

export interface ClientListenerDeps {
  /** Called for each request, because the policy includes the port, which is known only once the server listens. */
  readonly policy: () => ListenerPolicy;
  readonly destination: DestinationDeps;
  readonly forwarder: Forwarder;
  readonly streams: Pick<EventStreams, 'endAll'>;
  readonly own: OwnRoutes;
  readonly limits: Limits;
  readonly clock: Clock;
  readonly log: Log;
}

export interface ClientListener {
  /** Does not listen yet: the composition root binds the server to a TCP port or a unix socket. */
  readonly server: Server;
  /** Ends the clients' event streams cleanly, then closes the server within `graceMs`. Idempotent. */
  close(graceMs: number): Promise<void>;
}

/** A client's request with its response. */
interface Exchange {
  readonly req: IncomingMessage;
  readonly res: ServerResponse;
}

export function createClientListener(deps: ClientListenerDeps): ClientListener {
  const own = createKoaApp(deps.own.routers, deps.limits.maxBodyBytes, deps.log);
  const listen = (req: IncomingMessage, res: ServerResponse) => {
    accept(deps, own, { req, res }).catch((error: unknown) => {
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
      // How often Node looks for requests over the time limit: with Node's default of 30 s the limit would be doubled.
      connectionsCheckingInterval: Math.max(10, Math.min(30_000, Math.ceil(limits.requestHeadTimeoutMs / 4))),
    },
    listen,
  );
  // A request with `Expect: 100-continue` is handled like any other: "100 Continue" is written just before the body is read,
  // by the forwarder or by `dispatch`.
  server.on('checkContinue', listen);
  if (limits.maxConnections > 0) server.maxConnections = limits.maxConnections;
  return {
    server,
    close(graceMs) {
      deps.streams.endAll('the coordinator is stopping');
      return closeServer(server, graceMs, deps.clock);
    },
  };
}

async function accept(deps: ClientListenerDeps, own: RequestHandler, exchange: Exchange): Promise<void> {
  const { req, res } = exchange;
  const requestId = acceptedRequestId(req.headers[REQUEST_ID_HEADER]) ?? randomUUID();
  res.setHeader('X-Request-Id', requestId);
  logWhenDone(deps, requestId, exchange);
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
    await dispatch(deps, own, context, exchange);
  } catch (error) {
    if (error instanceof ClientGone) return;
    sendError(res, error, deps.log, { requestId });
  }
}

/** Passes the request to its destination: a daemon or the coordinator's own routes; a request that is done is answered 204. */
async function dispatch(
  deps: ClientListenerDeps,
  own: RequestHandler,
  context: RequestContext,
  { req, res }: Exchange,
): Promise<void> {
  const destination = await destinationOf(deps.destination, context.route, context.signal);
  if (destination.kind === 'done') {
    req.resume();
    res.writeHead(204).end();
    return;
  }
  if (destination.kind === 'own') {
    deps.own.contexts.set(req, context);
    if (req.headers.expect !== undefined) res.writeContinue();
    // Without the `/w/:ws` prefix, so that one router serves both forms of a path.
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

/** The routed request; undefined for a path that no route serves. @throws ApiError 400 for a malformed request target. */
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

function logWhenDone({ clock, log }: ClientListenerDeps, requestId: string, { req, res }: Exchange): void {
  const startedAtMs = clock.monotonicMs();
  // The query is not logged, because it may contain what a user typed.
  const path = truncated(pathOf(req));
  res.once('close', () => {
    const ms = Math.round(clock.monotonicMs() - startedAtMs);
    const isCut = !res.writableFinished;
    log.debug({ requestId, method: req.method, path, status: res.statusCode, ms, isCut }, 'request');
  });
}
