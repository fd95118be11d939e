// One cgroup (v2) for each daemon: every process that the daemon starts stays in it, whatever becomes of its parent and its
// name, and one write kills all of them. cgroup-probe.ts finds out where the coordinator may make cgroups.
import { createHash } from 'node:crypto';
import { mkdirSync, readdirSync, readFileSync, rmdirSync, statSync, writeFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { isAlive, type ProcStat, readCgroupPath, readProcStat } from '../../daemon/contract/proc.ts';
import type { MemoryEvidence } from './launcher.ts';
import type { DaemonMark } from './process-handle.ts';

/** The memory evidence of a daemon that has no cgroup: none. */
export const NO_EVIDENCE: MemoryEvidence = Object.freeze({ oomKills: null, peakBytes: null });

/** Matches the names that `cgroupNameOf` gives, whichever the state directory. */
const NAME = /^qwen-[0-9a-f]{8}-[0-9a-f]{16}-\d+$/;

const ENTER_ATTEMPTS = 3;

/** Where this coordinator may make cgroups for its daemons. */
export interface Cgroups {
  /** Where the cgroup2 file system is mounted. */
  readonly mountPoint: string;
  /** Directory in which each daemon gets its cgroup. */
  readonly base: string;
}

/**
 * The name of a daemon's cgroup: the hash of its socket's directory, and its incarnation. The incarnation alone is not enough,
 * because state directories that share a `base` can count to the same incarnation.
 */
export function cgroupNameOf({ incarnation, socketPath }: Pick<DaemonMark, 'incarnation' | 'socketPath'>) {
  return `${prefixOf(socketPath)}${incarnation}`;
}

function prefixOf(socketPath: string): string {
  const directory = createHash('sha256').update(dirname(socketPath)).digest('hex').slice(0, 8);
  return `qwen-${directory}-`;
}

/**
 * Makes the daemon's cgroup and moves the daemon into it. Call it in the same turn of the event loop as the spawn: the child
 * cannot be reaped before, so the pid is still the daemon's; and a daemon starts no process before it gets its handshake line,
 * which is sent later, so no process of it can be outside. (Node cannot pass CLONE_INTO_CGROUP.) The move takes up to 16 ms
 * where no process was moved lately (the kernel waits for a grace period), else 0.1 ms.
 * @throws Error when the kernel refuses; then no directory is left.
 */
export function encloseDaemon(cgroups: Cgroups, mark: DaemonMark): DaemonCgroup {
  removeEmpty(cgroups);
  const cgroup = new DaemonCgroup(join(cgroups.base, cgroupNameOf(mark)));
  try {
    enter(cgroup.path, mark.pid);
    return cgroup;
  } catch (error) {
    cgroup.remove();
    throw error;
  }
}

function enter(path: string, pid: number): void {
  for (let attempt = 1; ; attempt += 1) {
    mkdirSync(path);
    try {
      writeFileSync(join(path, 'cgroup.procs'), String(pid));
      return;
    } catch (error) {
      // ENOENT: another coordinator took the new, still empty cgroup for an abandoned one and removed it.
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT' || attempt === ENTER_ATTEMPTS) throw error;
    }
  }
}

/**
 * The daemon's cgroup: in `base`, else the cgroup of the living daemon, because an earlier coordinator may have had another
 * `base`. Undefined when the daemon has none.
 */
export function findCgroup(cgroups: Cgroups, mark: DaemonMark): DaemonCgroup | undefined {
  const name = cgroupNameOf(mark);
  const expected = join(cgroups.base, name);
  if (isDirectory(expected)) return new DaemonCgroup(expected);
  const path = readCgroupPath(mark.pid);
  // No other process was ever moved into a cgroup of this name, so a reused pid cannot lead to a foreign cgroup.
  const isNamed = path !== undefined && basename(path) === name;
  return isNamed ? new DaemonCgroup(join(cgroups.mountPoint, path)) : undefined;
}

/**
 * Removes the empty cgroups of daemons, of any state directory. A coordinator leaves an empty cgroup when it is killed together
 * with its daemon and never started again, or killed between making the cgroup and moving the daemon into it.
 */
function removeEmpty({ base }: Cgroups): void {
  for (const name of directoriesIn(base)) if (NAME.test(name)) new DaemonCgroup(join(base, name)).remove();
}

/** The cgroups of all daemons whose sockets are in the directory of `socketPath`, by incarnation. */
export function cgroupsBeside({ base }: Cgroups, socketPath: string): Map<string, DaemonCgroup> {
  const prefix = prefixOf(socketPath);
  const names = directoriesIn(base).filter((name) => name.startsWith(prefix));
  return new Map(names.map((name) => [name.slice(prefix.length), new DaemonCgroup(join(base, name))]));
}

/** One daemon's cgroup, by the path of its directory. Methods do nothing, or return nothing, when it is removed already. */
export class DaemonCgroup {
  readonly path: string;

  constructor(path: string) {
    this.path = path;
  }

  /** Every living process in this cgroup and the cgroups below it, except the coordinator's own process. */
  members(): ProcStat[] {
    return this.#pids()
      .filter((pid) => pid !== process.pid)
      .map(readProcStat)
      .filter((stat) => stat !== undefined)
      .filter(isAlive);
  }

  /** Kills every process in this cgroup at once, whatever they fork meanwhile. Does nothing when the calling process is in it. */
  kill(): void {
    // When an agent runs a command of the coordinator, that command is in this cgroup: the caller kills the members one by one.
    if (this.#pids().includes(process.pid)) return;
    try {
      writeFileSync(join(this.path, 'cgroup.kill'), '1');
    } catch {
      // The cgroup is removed already, or belongs to another user now; the process table shows the processes that are left.
    }
  }

  /** What the kernel counted of the memory of all processes in this cgroup; null for a figure without memory controller. */
  evidence(): MemoryEvidence {
    const oomKills = /^oom_kill (\d+)$/m.exec(readIn(this.path, 'memory.events') ?? '')?.[1];
    const peak = /^(\d+)$/m.exec(readIn(this.path, 'memory.peak') ?? '')?.[1];
    return {
      oomKills: oomKills === undefined ? null : Number(oomKills),
      peakBytes: peak === undefined ? null : Number(peak),
    };
  }

  /** Removes this cgroup and the cgroups below it. Returns false, and removes nothing, while a process is in any of them. */
  remove(): boolean {
    // Without this check empty cgroups beside a populated one would be removed, and a process may be about to enter them.
    if (/^populated 1$/m.test(readIn(this.path, 'cgroup.events') ?? '')) return false;
    return removeTree(this.path);
  }

  #pids(): number[] {
    return groupsOf(this.path).flatMap((group) =>
      (readIn(group, 'cgroup.procs') ?? '').split('\n').filter(Boolean).map(Number),
    );
  }
}

function groupsOf(path: string): string[] {
  return [path, ...directoriesIn(path).flatMap((name) => groupsOf(join(path, name)))];
}

function removeTree(path: string): boolean {
  for (const name of directoriesIn(path)) if (!removeTree(join(path, name))) return false;
  try {
    rmdirSync(path);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'ENOENT';
  }
}

function directoriesIn(path: string): string[] {
  try {
    return readdirSync(path, { withFileTypes: true })
      .filter((entry) => entry.isDirectory())
      .map(({ name }) => name);
  } catch {
    // The directory was removed meanwhile.
    return [];
  }
}

function isDirectory(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isDirectory() === true;
}

function readIn(group: string, file: string): string | undefined {
  try {
    return readFileSync(join(group, file), 'utf8');
  } catch {
    // The kernel's controller for `file` (of memory, say) is not enabled for this cgroup, the kernel is too old to have it, or
    // the cgroup is gone.
    return undefined;
  }
}
