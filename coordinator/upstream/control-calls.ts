// Calls to a daemon's control routes, which restore a session or release the daemon. The daemon's refusals are thrown as
// ApiError.

import {
  RELEASE_PATH,
  RESTORE_PATH,
  type ReleaseRequest,
  type RestoreAnswer,
  type RestoreRequest,
} from '../../daemon/contract/control.ts';
import { ApiError, ERRORS, type ErrorCode } from '../../daemon/contract/errors.ts';
import { type JsonObject, parseJsonObject } from '../../daemon/contract/json-body.ts';
import type { DaemonClient } from './daemon-client.ts';
import type { Endpoint } from './endpoint.ts';
import { trustHeaders } from './trust-headers.ts';

/**
 * Restores a session in the daemon.
 * @throws ApiError: the daemon's refusal with its status and code, or 503 without an answer.
 */
export async function restoreOn(
  client: DaemonClient,
  endpoint: Endpoint,
  request: RestoreRequest,
  signal: AbortSignal,
): Promise<RestoreAnswer> {
  const requestId = `restore-${request.sessionId.slice(0, 48)}`;
  const answer = await ask(client, endpoint, { path: RESTORE_PATH, request, requestId, signal });
  return answer as unknown as RestoreAnswer;
}

/**
 * Has the daemon end its turns, sessions and streams.
 * @returns false when the daemon has work and `request` asks to release only an idle daemon. @throws as `restoreOn`.
 */
export async function releaseOn(
  client: DaemonClient,
  endpoint: Endpoint,
  request: ReleaseRequest,
  signal: AbortSignal,
): Promise<boolean> {
  const answer = await ask(client, endpoint, { path: RELEASE_PATH, request, requestId: 'release', signal });
  return answer.released === true;
}

/** One POST to a control route. */
interface ControlCall {
  readonly path: string;
  /** The body, sent as JSON. */
  readonly request: object;
  /** Names the call in both processes' logs. */
  readonly requestId: string;
  readonly signal: AbortSignal;
}

async function ask(
  client: DaemonClient,
  endpoint: Endpoint,
  { path, request, requestId, signal }: ControlCall,
): Promise<JsonObject> {
  const answer = await client.call(endpoint, {
    method: 'POST',
    path,
    headers: {
      ...trustHeaders(endpoint.secret, { peer: 'loopback', requestId }),
      'content-type': 'application/json',
    },
    body: Buffer.from(JSON.stringify(request)),
    signal,
  });
  const body = parseJsonObject(answer.body);
  if (answer.status === 200) return body;
  const { error, code, ...context } = body;
  throw new ApiError({
    status: answer.status,
    code: knownCode(code),
    message: String(error ?? `status ${answer.status}`),
    context,
    retryAfterS: secondsOf(answer.headers['retry-after']),
  });
}

function secondsOf(retryAfter: string | undefined): number | undefined {
  return retryAfter === undefined ? undefined : Number(retryAfter);
}

function knownCode(code: unknown): ErrorCode | number | undefined {
  if (typeof code === 'number') return code;
  return typeof code === 'string' && Object.hasOwn(ERRORS, code) ? (code as ErrorCode) : undefined;
}
