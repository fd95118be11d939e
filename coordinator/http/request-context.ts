// The context of one client request, made before any handler runs: which client asks, for what, and whether that client is still
// there.
import type { ServerResponse } from 'node:http';
import type { RoutedRequest } from '../domain/routing.ts';
import type { Caller } from '../upstream/trust-headers.ts';

export interface RequestContext extends Caller {
  readonly route: RoutedRequest;
  /** Aborted with `ClientGone` when the client leaves before its answer was written in full. */
  readonly signal: AbortSignal;
}

/**
 * The reason of an aborted request: the client has left, so no answer would be read. Work for the request ends with this error.
 */
export class ClientGone extends Error {
  constructor() {
    super('the client went away');
    this.name = 'ClientGone';
  }
}

/** A signal that aborts with `ClientGone` when `res` closes unfinished. */
export function signalOf(res: ServerResponse): AbortSignal {
  const controller = new AbortController();
  const leave = () => {
    if (!res.writableFinished) controller.abort(new ClientGone());
  };
  if (res.destroyed) leave();
  else res.once('close', leave);
  return controller.signal;
}
