// Reads a request's context, body and client id for the handlers of the coordinator's own routes. koa hands over the raw request
// only, so the `RequestContext` that the listener has made is looked up by the raw request.
import type { IncomingMessage } from 'node:http';
import type { Context } from 'koa';
import { type JsonObject, readJsonBody } from '../../daemon/contract/json-body.ts';
import { CLIENT_ID_HEADER } from '../../daemon/contract/wire.ts';
import type { RequestContext } from './request-context.ts';
import type { SessionCall } from './sessions.ts';

/** The context of each request that koa handles, by the raw request. */
export type RequestContexts = WeakMap<IncomingMessage, RequestContext>;

export class OwnRequests {
  readonly #contexts: RequestContexts;
  readonly #maxBodyBytes: number;

  /** @param contexts filled by the listener before it hands a request to koa. */
  constructor(contexts: RequestContexts, maxBodyBytes: number) {
    this.#contexts = contexts;
    this.#maxBodyBytes = maxBodyBytes;
  }

  contextOf(ctx: Context): RequestContext {
    const context = this.#contexts.get(ctx.req);
    if (context === undefined) throw new Error('a request reached the router without its context');
    return context;
  }

  /** The request's JSON body. @throws ApiError 400 when the body is not JSON, 413 when the body is too large. */
  bodyOf(ctx: Context): Promise<JsonObject> {
    return readJsonBody(ctx.req, this.#maxBodyBytes);
  }

  /** The request's context, JSON body and client id header together. @throws as `bodyOf`. */
  async callOf(ctx: Context): Promise<SessionCall> {
    const body = await this.bodyOf(ctx);
    const clientId = ctx.req.headers[CLIENT_ID_HEADER];
    const clientHeaders = clientId === undefined ? {} : { [CLIENT_ID_HEADER]: clientId };
    return { context: this.contextOf(ctx), body, clientHeaders };
  }
}

export function queryOf(ctx: Context): URLSearchParams {
  return new URLSearchParams(ctx.querystring);
}
