// Sends a daemon a JSON POST in the name of a client, for the routes that the coordinator answers itself.
import type { OutgoingHttpHeaders } from 'node:http';
import type { JsonObject } from '../../daemon/contract/json-body.ts';
import type { DaemonAnswer, DaemonClient } from '../upstream/daemon-client.ts';
import type { Endpoint } from '../upstream/endpoint.ts';
import { trustHeaders } from '../upstream/trust-headers.ts';
import type { RequestContext } from './request-context.ts';

export interface DaemonPost {
  /**
   * Context of the client's request: the daemon learns from it who asks, and its signal aborts the POST when the client leaves.
   */
  readonly context: RequestContext;
  readonly path: string;
  readonly body: JsonObject;
  /** Headers of the client's request that the daemon gets besides the trust headers. */
  readonly clientHeaders: OutgoingHttpHeaders;
}

/** Sends the POST and returns the daemon's whole answer, whatever its status. @throws as `DaemonClient.call`. */
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
