// One request's facts, settled before any handler runs: who asks, for what, and whether the client is still there.
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { RoutedRequest } from '../domain/routing.ts';
import type { Caller } from '../upstream/trust-headers.ts';

export interface RequestContext extends Caller {
  readonly route: RoutedRequest;
  /** Aborted when the client goes before its answer was written in full. */
  readonly signal: AbortSignal;
}

/** Visits of the requests that koa handles, which knows only the raw request. */
export type RequestContexts = WeakMap<IncomingMessage, RequestContext>;

/** Why work for a request was given up. Nobody reads an answer any more. */
export class ClientGone extends Error {
  constructor() {
    super('the client went away');
    this.name = 'ClientGone';
  }
}

/** Aborts with `ClientGone` when `res` closes unfinished. */
export function signalOf(res: ServerResponse): AbortSignal {
  const controller = new AbortController();
  const leave = () => {
    if (!res.writableFinished) controller.abort(new ClientGone());
  };
  if (res.destroyed) leave();
  else res.once('close', leave);
  return controller.signal;
}
