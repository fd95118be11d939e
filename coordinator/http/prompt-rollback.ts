// Undoes a prompt that its daemon has accepted and the store refuses: has the daemon remove the prompt, so that no trace of the
// prompt is left.
import type { IncomingMessage } from 'node:http';
import { parseJsonObject } from '../../daemon/contract/json-body.ts';
import type { Log } from '../../daemon/contract/log.ts';
import type { DaemonClient } from '../upstream/daemon-client.ts';
import type { Endpoint } from '../upstream/endpoint.ts';
import { type Caller, trustHeaders } from '../upstream/trust-headers.ts';

/**
 * Path of a request that prompts a session, `<prefix>/session/<id>/prompt`, with or without a query; captures the session's path.
 */
const PROMPT_PATH = /^([^?]*\/session\/[^/?]+)\/[^/?]+\/?(?:\?|$)/;
/** Bound for the body of a prompt's 202, which has some hundred bytes. */
const MAX_ACCEPTANCE_BYTES = 64 * 1024;

/** Reads the body of a prompt's 202. @throws Error when the daemon breaks off, or sends more than such a body can have. */
export async function readAcceptance(answer: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of answer as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > MAX_ACCEPTANCE_BYTES)
      throw new Error(`an admission of more than ${MAX_ACCEPTANCE_BYTES} bytes`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

export interface RollbackDeps {
  readonly client: DaemonClient;
  readonly log: Log;
  /** Longest wait for the daemon to remove the prompt. */
  readonly timeoutMs: number;
}

/** A prompt that a daemon has accepted. */
export interface AcknowledgedPrompt {
  readonly endpoint: Endpoint;
  /** The raw path that the prompt was sent to. */
  readonly path: string;
  /** The client that sent the prompt. */
  readonly caller: Caller;
  /** Body of the daemon's 202, from `readAcceptance`. */
  readonly acceptance: Buffer;
}

/**
 * Has the daemon remove the prompt from its session; a turn that runs already is cancelled. Never rejects.
 * @returns true when the daemon has confirmed the removal.
 */
export async function takeBackPrompt(
  { client, log, timeoutMs }: RollbackDeps,
  { endpoint, path, caller, acceptance }: AcknowledgedPrompt,
): Promise<boolean> {
  const session = PROMPT_PATH.exec(path)?.[1];
  try {
    const { promptId } = parseJsonObject(acceptance);
    if (session === undefined || typeof promptId !== 'string') return false;
    const { status, body } = await client.call(endpoint, {
      method: 'DELETE',
      path: `${session}/pending-prompts/${encodeURIComponent(promptId)}`,
      headers: trustHeaders(endpoint.secret, caller),
      signal: AbortSignal.timeout(timeoutMs),
    });
    return status === 200 && parseJsonObject(body).removed === true;
  } catch (error) {
    log.warn(
      { err: error, requestId: caller.requestId },
      'a prompt that was not stored could not be taken back',
    );
    return false;
  }
}
