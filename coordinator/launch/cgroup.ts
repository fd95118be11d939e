// A cgroup (v2) of its own for each daemon: every process that the daemon starts stays in it, whatever becomes of its parent
// and its name, and all of them end with one write. cgroup-probe.ts finds out where the coordinator may make cgroups.
import { createHash } from 'node:crypto';
import { mkdirSync, readdirSync, readFileSync, rmdirSync, statSync, writeFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { isAlive, type ProcStat, readCgroupPath, readProcStat } from '../../daemon/contract/proc.ts';
import type { MemoryEvidence } from './launcher.ts';
import type { DaemonMark } from './process-handle.ts';

/** What is known of a daemon without a cgroup, or whose cgroup has no memory controller. */
export const NO_EVIDENCE: MemoryEvidence = Object.freeze({ oomKills: null, peakBytes: null });

/** Names that `cgroupNameOf` gives. */
const NAME = /^qwen-[0-9a-f]{8}-[0-9a-f]{16}-\d+$/;

const ENTER_ATTEMPTS = 3;

/** The cgroups that this process may make below a directory. */
export interface Cgroups {
  /** Where the cgroup2 file system is mounted. */
  readonly mountPoint: string;
  /** Directory in which daemons get their cgroups. */
  readonly base: string;
}

/**
 * The name under which a daemon's cgroup is found again. State directories that share a base can count to the same
 * incarnation; their sockets are in different directories.
 */
export function cgroupNameOf({ incarnation, socketPath }: Pick<DaemonMark, 'incarnation' | 'socketPath'>) {
  return `${prefixOf(socketPath)}${incarnation}`;
}

function prefixOf(socketPath: string): string {
  const directory = createHash('sha256').update(dirname(socketPath)).digest('hex').slice(0, 8);
  return `qwen-${directory}-`;
}

/**
 * Makes the daemon's cgroup and moves the daemon into it. Call it in the same turn of the event loop as the spawn: the
 * child is not reaped before, so the pid is its own; and a daemon starts nothing before its handshake line, which is sent
 * later, so nothing can be outside. (Node cannot pass CLONE_INTO_CGROUP.) The move takes up to 16 ms where no process was
 * moved lately (the kernel waits for a grace period), else 0.1 ms.
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
      // Another coordinator took the new cgroup for one that was left empty, and removed it.
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT' || attempt === ENTER_ATTEMPTS) throw error;
    }
  }
}

/** The daemon's cgroup, if there is one: in `base`, or where the living daemon is (a coordinator may change its base). */
export function findCgroup(cgroups: Cgroups, mark: DaemonMark): DaemonCgroup | undefined {
  const name = cgroupNameOf(mark);
  const expected = join(cgroups.base, name);
  if (isDirectory(expected)) return new DaemonCgroup(expected);
  const path = readCgroupPath(mark.pid);
  // Only a daemon of this name was ever put into a cgroup of this name, so a pid that was reused cannot mislead.
  const isNamed = path !== undefined && basename(path) === name;
  return isNamed ? new DaemonCgroup(join(cgroups.mountPoint, path)) : undefined;
}

/**
 * Removes the empty cgroups of daemons: a coordinator leaves them that was killed together with its daemon and never started
 * again, or that was killed between making a cgroup and filling it. The kernel refuses to remove a cgroup with a process in it.
 */
function removeEmpty({ base }: Cgroups): void {
  for (const name of directoriesIn(base)) if (NAME.test(name)) new DaemonCgroup(join(base, name)).remove();
}

/** The cgroups of all daemons with sockets in the same directory, by incarnation. */
export function cgroupsBeside({ base }: Cgroups, socketPath: string): Map<string, DaemonCgroup> {
  const prefix = prefixOf(socketPath);
  const names = directoriesIn(base).filter((name) => name.startsWith(prefix));
  return new Map(names.map((name) => [name.slice(prefix.length), new DaemonCgroup(join(base, name))]));
}

export class DaemonCgroup {
  readonly path: string;

  constructor(path: string) {
    this.path = path;
  }

  /** Every living process inside the cgroup and the groups below it, except this process. */
  members(): ProcStat[] {
    return this.#pids()
      .filter((pid) => pid !== process.pid)
      .map(readProcStat)
      .filter((stat) => stat !== undefined)
      .filter(isAlive);
  }

  /** Kills every process inside at once, whatever they fork meanwhile. Does nothing where this process is inside itself. */
  kill(): void {
    // A coordinator's command may be run by an agent: then only the members may be ended, one by one.
    if (this.#pids().includes(process.pid)) return;
    try {
      writeFileSync(join(this.path, 'cgroup.kill'), '1');
    } catch {
      // The cgroup is removed already, or no longer this user's; processes that are left are found in the process table.
    }
  }

  /** What the kernel noted of the memory of all processes inside. */
  evidence(): MemoryEvidence {
    const oomKills = /^oom_kill (\d+)$/m.exec(readIn(this.path, 'memory.events') ?? '')?.[1];
    const peak = /^(\d+)$/m.exec(readIn(this.path, 'memory.peak') ?? '')?.[1];
    return {
      oomKills: oomKills === undefined ? null : Number(oomKills),
      peakBytes: peak === undefined ? null : Number(peak),
    };
  }

  /** Removes the directory with the groups that were made in it. False, and nothing is removed, while a process is inside. */
  remove(): boolean {
    // The kernel would keep only the groups with a process: an empty group beside them may be about to be entered.
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
    // Removed meanwhile.
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
    // The controller is not enabled here, this kernel has no such file, or the group is gone.
    return undefined;
  }
}
