// Whether a pid still belongs to the daemon process of a mark, by boot id and start time. Sends no signal.
import { readFileSync } from 'node:fs';
import { isAlive, readProcStat } from '../../daemon/contract/proc.ts';
import type { DaemonMark } from './process-handle.ts';

/** The kernel's id of the current boot; empty where there is no /proc. */
export function readBootId(): string {
  try {
    return readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
  } catch {
    // No /proc (macOS). Start times are 0 there too, so `comparePid` never says more than "unverifiable".
    return '';
  }
}

/** Start time of the process, in clock ticks since boot (field 22 of /proc/pid/stat); 0 when it is gone or there is no /proc. */
export function startTimeOf(pid: number): number {
  return readProcStat(pid)?.startTime ?? 0;
}

export type PidVerdict = 'match' | 'mismatch' | 'unverifiable';

/**
 * Compares the process that has the mark's pid now with the mark. `match`: the marked process still runs. `mismatch`: the marked
 * process is proven dead, whichever process has its pid now; a zombie counts as dead. `unverifiable`: a process has the pid,
 * and without start times nothing tells whether it is the marked one.
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
