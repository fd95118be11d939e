// Whether a pid is still the process that was noted: by boot, start time, and the incarnation that it answers on its
// socket. Never signals anything.
import { readFileSync } from 'node:fs';
import { request } from 'node:http';
import { type DaemonIdentity, IDENTITY_PATH } from '../../daemon/contract/control.ts';
import { isAlive, readProcStat } from '../../daemon/contract/proc.ts';
import type { DaemonMark } from './launcher.ts';

/** An identity is a few hundred bytes; whoever sends more is not our daemon. */
const MAX_IDENTITY_BYTES = 64 * 1024;

/** Names this run of the kernel; empty where there is no /proc. */
export function readBootId(): string {
  try {
    return readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
  } catch {
    // macOS. Start times are 0 there too, so `comparePid` never says more than "unverifiable".
    return '';
  }
}

/** Field 22 of /proc/pid/stat; 0 when the process is gone or there is no /proc. */
export function startTimeOf(pid: number): number {
  return readProcStat(pid)?.startTime ?? 0;
}

export type PidVerdict = 'match' | 'mismatch' | 'unverifiable';

/**
 * `match`: the noted process still runs. `mismatch`: it is proven dead, whoever has its pid now; a zombie counts as dead.
 * `unverifiable`: some process has the pid and nothing tells whether it is the noted one.
 */
export function comparePid(
  mark: Pick<DaemonMark, 'bootId' | 'pid' | 'startTime'>,
  bootId: string,
): PidVerdict {
  if (mark.bootId !== bootId) return 'mismatch';
  const stat = readProcStat(mark.pid);
  if (stat === undefined) return hasProc() || !isPidTaken(mark.pid) ? 'mismatch' : 'unverifiable';
  if (!isAlive(stat)) return 'mismatch';
  if (mark.startTime === 0) return 'unverifiable';
  return stat.startTime === mark.startTime ? 'match' : 'mismatch';
}

function hasProc(): boolean {
  return readProcStat(process.pid) !== undefined;
}

function isPidTaken(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}

/** Nobody answered on the socket. */
export class Unanswered extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'Unanswered';
  }
}

/**
 * Asks whoever listens on the socket who it is. The answer proves nothing by itself: compare its incarnation.
 * @throws Unanswered when nobody answers in time, Error when it is not with an identity; its message says which.
 */
export function askIdentity(socketPath: string, secret: string, timeoutMs: number): Promise<DaemonIdentity> {
  return new Promise((resolve, reject) => {
    const call = request({
      socketPath,
      path: IDENTITY_PATH,
      // No pooled connection: it would outlive the question and hold the daemon's listener open.
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
