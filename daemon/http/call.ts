// One request as its handler sees it: parsed once, typed, free of the HTTP framework.
import type { IncomingMessage, ServerResponse } from 'node:http';
import { fail } from '../contract/errors.ts';
import type { JsonObject } from '../contract/json-body.ts';
import { truncated } from '../contract/log.ts';
import { CLIENT_ID_HEADER, isClientId, type Peer } from '../contract/wire.ts';

export interface Call {
  readonly req: IncomingMessage;
  readonly res: ServerResponse;
  /** Decoded path parameters. */
  readonly params: Readonly<Record<string, string>>;
  readonly query: URLSearchParams;
  readonly body: JsonObject;
  readonly peer: Peer;
  /** Whether the client has closed its connection meanwhile. */
  readonly hasLeft: () => boolean;
}

/** A handler's result: the response to send, or `streaming` when the handler writes the response itself. */
export type Answer =
  | {
      readonly status: number;
      readonly body?: unknown;
      readonly headers?: Readonly<Record<string, string>>;
    }
  | 'streaming';

export type Handler = (call: Call) => Answer | Promise<Answer>;

/** The answer without a body: status 204. */
export const NO_CONTENT: Answer = { status: 204 };

/** The answer with status 200 and `body` as JSON. */
export function ok(body: unknown): Answer {
  return { status: 200, body };
}

/** The client id in the request's header; undefined without that header. @throws ApiError 400 for a malformed id. */
export function clientIdOf(call: Call): string | undefined {
  const value = headerOf(call.req, CLIENT_ID_HEADER);
  if (value === undefined || value === '') return undefined;
  if (!isClientId(value)) throw fail('invalid_client_id', `Malformed client id "${truncated(value, 64)}"`);
  return value;
}

/** The value of the request header `name` (in lower case); the values of a repeated header are joined, as node does. */
export function headerOf(req: IncomingMessage, name: string): string | undefined {
  const value = req.headers[name];
  return Array.isArray(value) ? value.join(', ') : value;
}
