// A prompt that its daemon has admitted and the store refuses: nothing may be left of it, so the daemon takes it out again.
import type { IncomingMessage } from 'node:http';
import { parseJsonObject } from '../../daemon/contract/json-body.ts';
import type { Log } from '../../daemon/contract/log.ts';
import type { DaemonClient } from '../upstream/daemon-client.ts';
import type { Endpoint } from '../upstream/endpoint.ts';
import { type Caller, trustHeaders } from '../upstream/trust-headers.ts';

/** As the daemon takes a prompt: `<prefix>/session/<id>/prompt`, with or without a query. */
const PROMPT_PATH = /^([^?]*\/session\/[^/?]+)\/[^/?]+\/?(?:\?|$)/;
/** An admission is some hundred bytes. */
const MAX_ADMISSION_BYTES = 64 * 1024;

/** @throws Error when the daemon breaks off, or says more than an admission is. */
export async function readAdmission(answer: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of answer as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > MAX_ADMISSION_BYTES)
      throw new Error(`an admission of more than ${MAX_ADMISSION_BYTES} bytes`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

/**
 * Has the daemon take the prompt of this admission out of its session; a turn that runs already is cancelled.
 * @param path the raw path that the prompt was sent to.
 * @returns whether nothing is left of the prompt. Never rejects.
 */
export async function takeBackPrompt(
  client: DaemonClient,
  { endpoint, path, ...caller }: Caller & { readonly endpoint: Endpoint; readonly path: string },
  admission: Buffer,
  log: Log,
  timeoutMs: number,
): Promise<boolean> {
  const session = PROMPT_PATH.exec(path)?.[1];
  try {
    const { promptId } = parseJsonObject(admission);
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
