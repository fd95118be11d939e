// The daemon's HTTP server. A request gets its id and passes the guard and the rate limits; then koa reads its body and calls
// the route's handler. An error that any of them throws becomes an error response here.
import { randomUUID } from 'node:crypto';
import { createServer, type IncomingMessage, type Server } from 'node:http';
import Router from '@koa/router';
import Koa from 'koa';
import { REQUEST_ID_HEADER } from '../contract/control.ts';
import { answerFor, logError, sendError, unknownRouteHtml } from '../contract/envelope.ts';
import { fail, failPlain } from '../contract/errors.ts';
import { type JsonObject, readJsonBody } from '../contract/json-body.ts';
import { isDeeperThan } from '../contract/json-record.ts';
import type { Limits } from '../contract/limits.ts';
import { type Log, truncated } from '../contract/log.ts';
import { acceptedRequestId, type Peer } from '../contract/wire.ts';
import type { Answer, Handler } from './call.ts';
import { checkCaller, type DaemonGuardPolicy } from './guard.ts';
import type { RateGate } from './rate-gate.ts';

/**
 * Most levels of nesting in a request body. JSON.parse takes a body of any depth, but JSON.stringify fails at some thousand
 * levels: such a body could not be sent to the agent, and a failed write ends the channel to the agent for every session.
 */
const MAX_BODY_DEPTH = 256;

export interface DaemonRoute {
  readonly method: 'get' | 'post' | 'patch' | 'delete';
  readonly path: string;
  readonly handler: Handler;
  /** Whether the route changes more than a session's conversation: without a token only clients on this machine may use it. */
  readonly isStrict?: boolean;
}

export interface ServerOptions {
  readonly routes: readonly DaemonRoute[];
  readonly guard: DaemonGuardPolicy;
  readonly limits: Limits;
  readonly log: Log;
  /** Undefined when the configuration sets no rate limits: requests are not counted. */
  readonly rateGate: RateGate | undefined;
}

/** The guard's findings about an admitted request, and the request's id. */
interface GuardedRequest {
  readonly peer: Peer;
  readonly hasToken: boolean;
  readonly requestId: string;
}

/** Makes an HTTP server for the routes. The server does not listen yet. */
export function createDaemonServer(options: ServerOptions): Server {
  const { limits, log, guard } = options;
  const handle = createApp(options).callback();
  const server = createServer(
    {
      requestTimeout: limits.requestHeadTimeoutMs,
      headersTimeout: limits.requestHeadTimeoutMs,
      keepAliveTimeout: limits.keepAliveTimeoutMs,
      connectionsCheckingInterval: Math.min(limits.requestHeadTimeoutMs, 5000),
    },
    (req, res) => {
      const requestId = acceptedRequestId(req.headers[REQUEST_ID_HEADER]) ?? randomUUID();
      res.setHeader('X-Request-Id', requestId);
      try {
        const result = checkCaller(guard, req, res);
        if (result.kind === 'answered') return;
        const { peer, hasToken } = result;
        guarded.set(req, { peer, hasToken, requestId });
        options.rateGate?.check(req, res);
        void handle(req, res);
      } catch (error) {
        req.resume();
        sendError(res, error, log, { requestId });
      }
    },
  );
  if (limits.maxConnections > 0) server.maxConnections = limits.maxConnections;
  return server;
}

/** The guard's findings by request. An entry is garbage-collected with its request. */
const guarded = new WeakMap<object, GuardedRequest>();

function createApp({ routes, limits, log }: ServerOptions): Koa {
  const app = new Koa();
  const router = createRouter(routes);
  // koa also emits `error` when the connection fails while a response is being written, which is no fault of the daemon.
  app.on('error', (error: NodeJS.ErrnoException & { readonly headerSent?: boolean }) => {
    if (error.headerSent === true) log.debug({ err: error }, 'the connection failed during an answer');
    else logError(log, error);
  });
  app.use(async (ctx, next) => {
    try {
      checkEncoding(ctx.path);
      ctx.state.body = hasBody(ctx.method) ? await readBody(ctx.req, limits.maxBodyBytes) : {};
      await next();
      if (ctx.status === 404 && ctx.body === undefined && ctx.respond !== false) writeUnknownRoute(ctx);
    } catch (error) {
      writeError(ctx, error, log);
    }
  });
  app.use(router.routes());
  return app;
}

function createRouter(routes: readonly DaemonRoute[]): Router {
  const router = new Router();
  for (const { method, path, handler, isStrict } of routes)
    router[method](path, async (ctx) => {
      const state = guarded.get(ctx.req);
      if (isStrict === true) checkStrict(state);
      const answer = await handler({
        req: ctx.req,
        res: ctx.res,
        params: ctx.params,
        // Not `ctx.query`: koa leaves it empty when the Host header names no host, and on a unix socket no check refuses that.
        query: new URLSearchParams(ctx.querystring),
        body: (ctx.state.body ?? {}) as JsonObject,
        peer: state?.peer ?? 'remote',
        hasLeft: () => ctx.res.destroyed || ctx.req.socket.destroyed,
      });
      writeAnswer(ctx, answer);
    });
  return router;
}

/** @throws ApiError 401 `token_required` for a client on another machine that has shown no token. */
function checkStrict(state: GuardedRequest | undefined): void {
  if (state?.hasToken === true || state?.peer === 'loopback') return;
  throw fail('token_required', 'This route needs a token when the client is on another machine');
}

function writeAnswer(ctx: Koa.Context, answer: Answer): void {
  if (answer === 'streaming') {
    ctx.respond = false;
    return;
  }
  ctx.status = answer.status;
  if (answer.headers !== undefined) ctx.set(answer.headers);
  ctx.body = answer.body === undefined ? null : answer.body;
  if (answer.body === undefined) ctx.status = answer.status;
}

function writeUnknownRoute(ctx: Koa.Context): void {
  ctx.status = 404;
  ctx.type = 'text/html; charset=utf-8';
  ctx.set('X-Content-Type-Options', 'nosniff');
  ctx.body = unknownRouteHtml(ctx.method, truncated(ctx.path));
}

function writeError(ctx: Koa.Context, error: unknown, log: Log): void {
  const requestId = guarded.get(ctx.req)?.requestId;
  const context = { requestId, method: ctx.method, path: truncated(ctx.path) };
  if (ctx.req.destroyed && !ctx.req.complete)
    log.debug({ ...context, err: error }, 'the client left before its request was complete');
  else logError(log, error, context);
  const answer = answerFor(error);
  ctx.status = answer.status;
  ctx.set(answer.headers);
  ctx.body = answer.body;
}

/** As `readJsonBody`. @throws ApiError 413 over `maxBytes`, 400 for malformed JSON or more levels than MAX_BODY_DEPTH. */
async function readBody(req: IncomingMessage, maxBytes: number): Promise<JsonObject> {
  const body = await readJsonBody(req, maxBytes);
  if (isDeeperThan(body, MAX_BODY_DEPTH))
    throw failPlain(400, `The request body is nested deeper than ${MAX_BODY_DEPTH} levels`);
  return body;
}

function hasBody(method: string): boolean {
  return method !== 'GET' && method !== 'HEAD' && method !== 'OPTIONS';
}

/** @throws ApiError 400 for a path that cannot be decoded. */
function checkEncoding(path: string): void {
  try {
    decodeURIComponent(path);
  } catch {
    throw fail('invalid_request', 'Malformed URL encoding');
  }
}
