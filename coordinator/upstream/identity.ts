// Asks the process at an address for its identity. The answer alone proves nothing: the caller has to compare the incarnation in
// it.
import { type DaemonIdentity, IDENTITY_PATH } from '../../daemon/contract/control.ts';
import type { Reach } from './address.ts';
import { requestTo } from './dial.ts';

/** An identity has a few hundred bytes; a process that sends more is no daemon of this coordinator. */
const MAX_IDENTITY_BYTES = 64 * 1024;

/** No process answered at the address. */
export class Unanswered extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'Unanswered';
  }
}

/**
 * Requests the identity of the process at the address.
 * @throws Unanswered when no answer comes within `timeoutMs`; Error when the answer is no identity. The message says why.
 */
export function askIdentity({ address, secret }: Reach, timeoutMs: number): Promise<DaemonIdentity> {
  return new Promise((resolve, reject) => {
    const call = requestTo(address, {
      path: IDENTITY_PATH,
      // A pooled connection would outlive this request and keep the daemon's listener open.
      agent: false,
      headers: { authorization: `Bearer ${secret}` },
      signal: AbortSignal.timeout(timeoutMs),
    });
    call.on('error', (error) => reject(new Unanswered(timeoutWords(error, timeoutMs))));
    call.on('response', (response) => {
      const chunks: Buffer[] = [];
      let size = 0;
      response.on('error', (error) => reject(new Error(timeoutWords(error, timeoutMs))));
      response.on('data', (chunk: Buffer) => {
        size += chunk.length;
        chunks.push(chunk);
        if (size > MAX_IDENTITY_BYTES) response.destroy(new Error('its answer is too long for an identity'));
      });
      response.on('end', () => {
        try {
          resolve(parseIdentity(response.statusCode, Buffer.concat(chunks)));
        } catch (error) {
          reject(error);
        }
      });
    });
    call.end();
  });
}

function timeoutWords(error: Error, timeoutMs: number): string {
  const isLate = error.name === 'AbortError' || error.name === 'TimeoutError';
  return isLate ? `no answer within ${timeoutMs} ms` : error.message;
}

function parseIdentity(status: number | undefined, body: Buffer): DaemonIdentity {
  if (status !== 200) throw new Error(`it answered ${IDENTITY_PATH} with status ${status}`);
  const raw = JSON.parse(body.toString('utf8')) as Partial<DaemonIdentity> | null;
  if (typeof raw?.incarnation !== 'string' || typeof raw.pid !== 'number')
    throw new Error('its answer is not an identity');
  return raw as DaemonIdentity;
}
