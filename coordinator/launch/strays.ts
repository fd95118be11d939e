// Processes that outlived their daemon: finds the processes that carry an incarnation, and proves which of them are left over.
// The caller says what the database knows of an incarnation; only `reap` signals processes.
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
import { comparePid, readBootId } from './identity.ts';
import type { LaunchHandle } from './launcher.ts';
import { type DaemonMark, markIn } from './process-handle.ts';
import { findTree } from './process-tree.ts';

/** What a state directory's database says of an incarnation. */
export interface NotedIncarnation {
  readonly incarnation: string;
  readonly isEnded: boolean;
  readonly handle: LaunchHandle;
}

export interface StraySearch {
  /** Directory of the daemons' sockets: the names of the cgroups begin with its hash. */
  readonly runtimeDir: string;
  readonly cgroups: Cgroups | undefined;
  /** Asked after the process table was read: a daemon's row is committed before its process is made. */
  readonly noted: (incarnation: string) => NotedIncarnation | undefined;
}

/** What an ended incarnation left behind. */
export interface Strays {
  readonly mark: DaemonMark;
  readonly cgroup: DaemonCgroup | undefined;
  readonly processes: readonly ProcStat[];
  /** Why `reap` leaves the processes alone; undefined when it ends them. */
  readonly spared: string | undefined;
}

export interface StrayReport {
  readonly strays: readonly Strays[];
  /** Processes of incarnations that this database does not know: of another state directory, or forgotten. Never ended. */
  readonly unknown: readonly ProcStat[];
}

/**
 * A process is proven to be left over when it is of this user, descends from an incarnation that this database notes as ended
 * (by its cgroup or its environment), runs on this boot, and started no earlier than that incarnation's daemon.
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
  // Without a start time the processes of a daemon of the same name could not be told apart.
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

/** The pids of the handles' daemons that run or may run: a process has the pid, and nothing proves it to be another one. */
export function runningPids(handles: readonly LaunchHandle[]): readonly number[] {
  const bootId = readBootId();
  return handles
    .map(markIn)
    .filter((mark) => mark !== undefined && mark.pid !== 0 && comparePid(mark, bootId) !== 'mismatch')
    .map((mark) => mark?.pid ?? 0);
}

/** Ends the strays that are not spared. @returns how many processes were ended. */
export async function reap(found: readonly Strays[], settings: SweepSettings): Promise<number> {
  const ends = found
    .filter(({ spared }) => spared === undefined)
    .map(({ mark, cgroup }) => endStraysOf(mark, cgroup, settings));
  return (await Promise.all(ends)).reduce((sum, { strays }) => sum + strays, 0);
}

/** Living processes of this user that carry an incarnation in their environment, by incarnation. */
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

/** Root can read every environment; the processes of other users are left alone all the same. */
function isOfThisUser({ pid }: ProcStat): boolean {
  return statSync(`/proc/${pid}`, { throwIfNoEntry: false })?.uid === process.getuid?.();
}

function ancestorsOfThisProcess(): Set<number> {
  const pids = new Set<number>();
  for (let pid = process.ppid; pid > 1 && !pids.has(pid); pid = readProcStat(pid)?.ppid ?? 0) pids.add(pid);
  return pids;
}
