// The koa application around the coordinator's own routes: the one file where a handler's error becomes an answer.
import type { IncomingMessage, ServerResponse } from 'node:http';
import type Router from '@koa/router';
import Koa, { type Context, type Next } from 'koa';
import { answerFor, logError, unknownRouteHtml } from '../../daemon/contract/envelope.ts';
import type { Log } from '../../daemon/contract/log.ts';
import { truncated } from '../../daemon/contract/log.ts';
import { drainBody } from './refuse-body.ts';
import { ClientGone } from './request-context.ts';

export type RequestHandler = (req: IncomingMessage, res: ServerResponse) => Promise<void>;

/**
 * Makes one handler of the routers; a path that none of the routers has is answered 404.
 * @param spareBytes how much is still read of a refused request's body before the connection is cut.
 */
export function createKoaApp(routers: readonly Router[], spareBytes: number, log: Log): RequestHandler {
  const app = new Koa();
  app.silent = true;
  app.on('error', (error) => log.debug({ err: error }, 'answer not delivered'));
  app.use((ctx, next) => withErrors(ctx, next, spareBytes, log));
  for (const router of routers) app.use(router.routes());
  app.use(notFound);
  return app.callback();
}

async function withErrors(ctx: Context, next: Next, spareBytes: number, log: Log): Promise<void> {
  try {
    await next();
  } catch (error) {
    if (error instanceof ClientGone || ctx.res.destroyed) {
      ctx.respond = false;
      ctx.res.destroy();
      return;
    }
    logError(log, error, { requestId: ctx.res.getHeader('x-request-id') });
    const answer = answerFor(error);
    ctx.status = answer.status;
    ctx.set(answer.headers);
    ctx.body = answer.body;
    if (!ctx.req.complete) drainBody(ctx.req, spareBytes);
  }
}

function notFound(ctx: Context): void {
  sendUnknownRoute(ctx.res, ctx.method, ctx.path);
  ctx.respond = false;
}

/** Answers 404 for a path that no route serves, in HTML as the reference server does. */
export function sendUnknownRoute(res: ServerResponse, method: string, path: string): void {
  const html = Buffer.from(unknownRouteHtml(method, truncated(path)));
  res.writeHead(404, {
    'Content-Type': 'text/html; charset=utf-8',
    'Content-Length': html.length,
    'Content-Security-Policy': "default-src 'none'",
    'X-Content-Type-Options': 'nosniff',
  });
  res.end(method === 'HEAD' ? undefined : html);
}
