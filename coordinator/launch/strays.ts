// Finds strays: processes that have an incarnation in their environment and are proven to have outlived its daemon. The caller
// says what the database knows of an incarnation. Only `reap` signals processes.
import { statSync } from 'node:fs';
import { INCARNATION_ENV } from '../../daemon/contract/handshake.ts';
import {
  isAlive,
  listProcStats,
  type ProcStat,
  readEnvironValue,
  readProcStat,
} from '../../daemon/contract/proc.ts';
import { type Cgroups, cgroupsBeside, type DaemonCgroup } from './cgroup.ts';
import { endStraysOf, type SweepSettings } from './daemon-process.ts';
import { ForeignHandle } from './handle.ts';
import { comparePid, readBootId } from './identity.ts';
import type { LaunchHandle } from './launcher.ts';
import { type DaemonMark, markFor, markIn } from './process-handle.ts';
import { findTree } from './process-tree.ts';

/** What the database of the state directory says of an incarnation. */
export interface NotedIncarnation {
  readonly incarnation: string;
  readonly isEnded: boolean;
  readonly handle: LaunchHandle;
}

/** Where `findStrays` looks. */
export interface StraySearch {
  /** Directory of the daemons' sockets, whose hash is in the names of their cgroups. */
  readonly runtimeDir: string;
  readonly cgroups: Cgroups | undefined;
  /**
   * What the database says of an incarnation; undefined when it has no such row. Called after the process table was read: a
   * daemon's row is committed before its process is made, so that a daemon under way is not taken for unknown.
   */
  readonly noted: (incarnation: string) => NotedIncarnation | undefined;
}

/** The processes that the daemon of an ended incarnation left behind. */
export interface Strays {
  readonly mark: DaemonMark;
  readonly cgroup: DaemonCgroup | undefined;
  readonly processes: readonly ProcStat[];
  /** Why `reap` leaves the processes alone; undefined when it ends them. */
  readonly spared: string | undefined;
}

export interface StrayReport {
  readonly strays: readonly Strays[];
  /** Processes of incarnations that the database does not know: of another state directory, or pruned. Never ended. */
  readonly unknown: readonly ProcStat[];
}

/**
 * Finds strays and signals none. A process is a stray when it is this user's, belongs by its cgroup or its environment to an
 * incarnation that ended according to the database, and started in this boot and no earlier than that incarnation's daemon.
 */
export function findStrays(search: StraySearch): StrayReport {
  const marked = markedProcesses();
  const cgroups =
    search.cgroups === undefined
      ? new Map<string, DaemonCgroup>()
      : cgroupsBeside(search.cgroups, `${search.runtimeDir}/any.sock`);
  const strays: Strays[] = [];
  for (const incarnation of new Set([...marked.keys(), ...cgroups.keys()])) {
    const found = straysOf(search.noted(incarnation), cgroups.get(incarnation));
    if (found !== undefined && found.processes.length > 0) strays.push(found);
  }
  const unknown = [...marked].filter(([incarnation]) => search.noted(incarnation) === undefined);
  return { strays, unknown: unknown.flatMap(([, processes]) => processes) };
}

function straysOf(noted: NotedIncarnation | undefined, cgroup: DaemonCgroup | undefined): Strays | undefined {
  const mark = noted?.isEnded ? markIn(noted.handle) : undefined;
  if (mark === undefined || mark.bootId !== readBootId()) return undefined;
  // Without a start time the strays cannot be told from processes of another daemon with the same incarnation.
  if (mark.pid === 0 || mark.startTime === 0) return undefined;
  const tree = findTree(mark, false);
  const inTree = new Set(tree.map((stat) => stat.pid));
  const others = cgroup?.members().filter((stat) => !inTree.has(stat.pid)) ?? [];
  const processes = [...tree, ...others].filter(isOfThisUser);
  const own = ancestorsOfThisProcess();
  const spared = processes.some((stat) => own.has(stat.pid))
    ? 'this command is running inside it'
    : undefined;
  return { mark, cgroup, processes, spared };
}

/** The pids of those daemons of `handles` that run or may run: a process has the pid and is not proven to be another process. */
export function runningPids(handles: readonly LaunchHandle[]): readonly number[] {
  const bootId = readBootId();
  return handles
    .map(markIn)
    .filter((mark) => mark !== undefined && mark.pid !== 0 && comparePid(mark, bootId) !== 'mismatch')
    .map((mark) => mark?.pid ?? 0);
}

/** Why the daemons of these handles can be neither found nor proven gone, by incarnation: the handles are not this launcher's. */
export function unreadableHandles(
  daemons: readonly Pick<NotedIncarnation, 'incarnation' | 'handle'>[],
): ReadonlyMap<string, string> {
  const reasons = new Map<string, string>();
  for (const { incarnation, handle } of daemons) {
    try {
      markFor(incarnation, handle);
    } catch (error) {
      if (!(error instanceof ForeignHandle)) throw error;
      reasons.set(incarnation, error.message);
    }
  }
  return reasons;
}

/** Kills the strays that are not `spared`, and waits until they are gone. @returns how many processes were ended. */
export async function reap(found: readonly Strays[], settings: SweepSettings): Promise<number> {
  const ends = found
    .filter(({ spared }) => spared === undefined)
    .map(({ mark, cgroup }) => endStraysOf(mark, cgroup, settings));
  return (await Promise.all(ends)).reduce((sum, { strays }) => sum + strays, 0);
}

/** Living processes of this user that have an incarnation in their environment, by incarnation. */
function markedProcesses(): Map<string, ProcStat[]> {
  const found = new Map<string, ProcStat[]>();
  for (const stat of listProcStats().filter(isAlive)) {
    const incarnation = readEnvironValue(stat.pid, INCARNATION_ENV);
    if (incarnation === undefined || stat.pid === process.pid || !isOfThisUser(stat)) continue;
    const processes = found.get(incarnation);
    if (processes === undefined) found.set(incarnation, [stat]);
    else processes.push(stat);
  }
  return found;
}

/** Whether the process is this user's. Root can read every environment, and leaves the processes of other users alone too. */
function isOfThisUser({ pid }: ProcStat): boolean {
  return statSync(`/proc/${pid}`, { throwIfNoEntry: false })?.uid === process.getuid?.();
}

function ancestorsOfThisProcess(): Set<number> {
  const pids = new Set<number>();
  for (let pid = process.ppid; pid > 1 && !pids.has(pid); pid = readProcStat(pid)?.ppid ?? 0) pids.add(pid);
  return pids;
}
