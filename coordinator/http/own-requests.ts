// What the handlers of the coordinator's own routes read of a request. koa passes on the raw request only, so the context that the
// listener has made is looked up by that.
import type { IncomingMessage } from 'node:http';
import type { Context } from 'koa';
import { type JsonObject, readJsonBody } from '../../daemon/contract/json-body.ts';
import { CLIENT_ID_HEADER } from '../../daemon/contract/wire.ts';
import type { RequestContext } from './request-context.ts';
import type { SessionCall } from './sessions.ts';

/** Contexts of the requests that are in koa's hands. */
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

  /** @throws ApiError 400 when the body is not JSON, 413 when it is too large. */
  bodyOf(ctx: Context): Promise<JsonObject> {
    return readJsonBody(ctx.req, this.#maxBodyBytes);
  }

  /** The request as a call that is made in the client's name. @throws as `bodyOf`. */
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
