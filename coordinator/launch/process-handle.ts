// The mark of a daemon: what the process launcher writes into a launch handle and reads from it.
import { ForeignHandle, type HandleBody, quotedHandle, readHandle, writeHandle } from './handle.ts';
import type { LaunchHandle } from './launcher.ts';

const KIND = 'process';
/** Version of the mark's form in the handle. Migration 6 of the store writes version 1 from the columns of earlier releases. */
const VERSION = 1;

/** How the process launcher finds a daemon's process and tells it from any other process. */
export interface DaemonMark {
  readonly incarnation: string;
  /** The kernel's id of the boot in which the daemon was started; empty where there is no /proc. */
  readonly bootId: string;
  /** 0 while no process is known: the daemon is only planned, or its coordinator was killed before it stored the pid. */
  readonly pid: number;
  /** In clock ticks since boot (field 22 of /proc/pid/stat); 0 where there is no /proc, or no pid. */
  readonly startTime: number;
  readonly socketPath: string;
  /** The file to which the daemon's stdout and stderr are appended. */
  readonly logPath: string;
}

export function handleOf({
  incarnation,
  bootId,
  pid,
  startTime,
  socketPath,
  logPath,
}: DaemonMark): LaunchHandle {
  const process = pid === 0 ? {} : { pid, startTime };
  return writeHandle(KIND, VERSION, { incarnation, bootId, socketPath, logPath, ...process });
}

/** Reads the mark from a handle that `handleOf` wrote. @throws ForeignHandle when another launcher wrote it, or it is damaged. */
export function markFrom(handle: LaunchHandle): DaemonMark {
  const body = readHandle(handle, KIND, VERSION);
  const text = (name: string): string => {
    const value = body[name];
    if (typeof value !== 'string')
      throw new ForeignHandle(
        `its launch handle has no ${name} (${quotedHandle(handle)}): put a backup of the database in place of this one`,
      );
    return value;
  };
  return {
    incarnation: text('incarnation'),
    bootId: text('bootId'),
    socketPath: text('socketPath'),
    logPath: text('logPath'),
    ...processIn(body),
  };
}

/** Pid and start time in a handle; 0 where the handle has no pid, and where no process can have the one it has. */
function processIn({ pid, startTime }: HandleBody): Pick<DaemonMark, 'pid' | 'startTime'> {
  if (!Number.isSafeInteger(pid) || Number(pid) <= 0) return { pid: 0, startTime: 0 };
  return { pid: Number(pid), startTime: typeof startTime === 'number' ? startTime : 0 };
}

/**
 * The mark in the handle that the store has for this incarnation.
 * @throws ForeignHandle as `markFrom`, and where the handle is that of another incarnation.
 */
export function markFor(incarnation: string, handle: LaunchHandle): DaemonMark {
  const mark = markFrom(handle);
  if (mark.incarnation !== incarnation)
    throw new ForeignHandle(
      `its launch handle is that of ${mark.incarnation}: put a backup of the database in place of this one`,
    );
  return mark;
}

/** As `markFrom`, but undefined where `markFrom` throws ForeignHandle. */
export function markIn(handle: LaunchHandle): DaemonMark | undefined {
  try {
    return markFrom(handle);
  } catch (error) {
    if (error instanceof ForeignHandle) return undefined;
    throw error;
  }
}
