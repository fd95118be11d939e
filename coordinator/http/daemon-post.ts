// A JSON call to a daemon in the name of a client, for the routes that the coordinator answers itself.
import type { OutgoingHttpHeaders } from 'node:http';
import type { JsonObject } from '../../daemon/contract/json-body.ts';
import type { DaemonAnswer, DaemonClient } from '../upstream/daemon-client.ts';
import type { Endpoint } from '../upstream/endpoint.ts';
import { trustHeaders } from '../upstream/trust-headers.ts';
import type { RequestContext } from './request-context.ts';

export interface DaemonPost {
  /** The client's request: the call is made in its name, and given up when the client leaves. */
  readonly context: RequestContext;
  readonly path: string;
  readonly body: JsonObject;
  /** What else the daemon gets of the client's own headers. */
  readonly clientHeaders: OutgoingHttpHeaders;
}

/** @throws as `DaemonClient.call`. */
export function postToDaemon(
  client: DaemonClient,
  endpoint: Endpoint,
  { context, path, body, clientHeaders }: DaemonPost,
): Promise<DaemonAnswer> {
  return client.call(endpoint, {
    method: 'POST',
    path,
    headers: {
      ...clientHeaders,
      ...trustHeaders(endpoint.secret, context),
      'content-type': 'application/json',
    },
    body: Buffer.from(JSON.stringify(body)),
    signal: context.signal,
  });
}
