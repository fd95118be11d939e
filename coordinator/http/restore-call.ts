// Asks a daemon to take a session back, and turns its refusal into ours.
import { ApiError, ERRORS, type ErrorCode } from '../../daemon/contract/errors.ts';
import { RESTORE_PATH, type RestoreAnswer, type RestoreRequest } from '../../daemon/contract/feed.ts';
import { parseJsonObject } from '../../daemon/contract/json-body.ts';
import type { Endpoint } from '../supervise/fleet.ts';
import type { DaemonClient } from './daemon-client.ts';
import { trustHeaders } from './headers.ts';

/** @throws ApiError: the daemon's refusal with its status and code, or 503 when it cannot be reached. */
export async function restoreOn(
  client: DaemonClient,
  endpoint: Endpoint,
  request: RestoreRequest,
  signal: AbortSignal,
): Promise<RestoreAnswer> {
  const { secret } = endpoint;
  const answer = await client.call(endpoint, {
    method: 'POST',
    path: RESTORE_PATH,
    headers: {
      ...trustHeaders(secret, { peer: 'loopback', requestId: `restore-${request.sessionId.slice(0, 48)}` }),
      'content-type': 'application/json',
    },
    body: Buffer.from(JSON.stringify(request)),
    signal,
  });
  const body = parseJsonObject(answer.body);
  if (answer.status === 200) return body as unknown as RestoreAnswer;
  const { error, code, ...context } = body;
  throw new ApiError(answer.status, knownCode(code), String(error ?? `status ${answer.status}`), context);
}

function knownCode(code: unknown): ErrorCode | number | undefined {
  if (typeof code === 'number') return code;
  return typeof code === 'string' && Object.hasOwn(ERRORS, code) ? (code as ErrorCode) : undefined;
}
