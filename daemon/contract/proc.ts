// Reads the kernel's process table (/proc), by which a process is found again and the members of a process tree are known.
// Sends no signals. Where there is no /proc (macOS), every function returns its value for "not known".
import { readdirSync, readFileSync } from 'node:fs';

/** One row of the process table, from /proc/pid/stat. */
export interface ProcStat {
  readonly pid: number;
  readonly ppid: number;
  readonly pgid: number;
  readonly session: number;
  /** Field 22: clock ticks since boot. With the pid it names one process for the life of the machine. */
  readonly startTime: number;
  /** State of the process: one letter, as in proc(5). */
  readonly state: string;
}

/**
 * Parses the text of a stat file. Field 2, the command name, may hold spaces, parentheses and newlines of the process's
 * own choosing, so fields are counted from the last parenthesis.
 * @returns undefined when the text is no stat line.
 */
export function parseProcStat(text: string): ProcStat | undefined {
  const nameEnd = text.lastIndexOf(')');
  const pid = Number.parseInt(text, 10);
  if (nameEnd === -1 || !Number.isSafeInteger(pid)) return undefined;
  const [state, ppid, pgid, session, ...rest] = text.slice(nameEnd + 2).split(' ');
  const stat = {
    pid,
    ppid: Number(ppid),
    pgid: Number(pgid),
    session: Number(session),
    startTime: Number(rest[15]),
    state: state ?? '',
  };
  const isWhole = [stat.ppid, stat.pgid, stat.session, stat.startTime].every(Number.isFinite);
  return isWhole ? stat : undefined;
}

/** The process's row, zombies included; undefined when there is no such process. */
export function readProcStat(pid: number): ProcStat | undefined {
  const text = readProcFile(pid, 'stat');
  return text === undefined ? undefined : parseProcStat(text);
}

/** The row of every process that this process may see. Not atomic: a process may end or fork while the table is read. */
export function listProcStats(): ProcStat[] {
  return listPids()
    .map(readProcStat)
    .filter((stat) => stat !== undefined);
}

/** Whether the process still runs. A zombie, which keeps its pid but no other resource, counts as dead. */
export function isAlive(stat: ProcStat): boolean {
  return stat.state !== 'Z' && stat.state !== 'X' && stat.state !== 'x';
}

/**
 * The pids of children, grandchildren and so on of `pid`, without `pid` itself, parents first. A process whose parent died
 * before the table was read has a new parent and is not found: read the table before any signal is sent.
 */
export function descendantsOf(pid: number, stats: readonly ProcStat[]): number[] {
  const children = new Map<number, number[]>();
  for (const stat of stats) {
    const siblings = children.get(stat.ppid);
    if (siblings === undefined) children.set(stat.ppid, [stat.pid]);
    else siblings.push(stat.pid);
  }
  const found = [...(children.get(pid) ?? [])];
  // The rows are not of one instant, so a reused pid could close a circle: each pid is visited once.
  const seen = new Set([pid, ...found]);
  for (const parent of found) {
    const unseen = (children.get(parent) ?? []).filter((child) => !seen.has(child));
    for (const child of unseen) seen.add(child);
    found.push(...unseen);
  }
  return found;
}

/**
 * A variable in the environment with which the process was started; later changes are not visible.
 * @returns undefined when the variable is not set, or the process is gone, a zombie, or another user's.
 */
export function readEnvironValue(pid: number, name: string): string | undefined {
  const entry = readProcFile(pid, 'environ')
    ?.split('\0')
    .find((line) => line.startsWith(`${name}=`));
  return entry?.slice(name.length + 1);
}

/** The process's cgroup, as a path from the root of the cgroup v2 hierarchy; undefined when it is not known. */
export function readCgroupPath(pid: number): string | undefined {
  return /^0::(.*)$/m.exec(readProcFile(pid, 'cgroup') ?? '')?.[1];
}

/** Resident memory of all processes of a process group in bytes, shared pages counted in each; 0 when none can be read. */
export function rssBytesOfGroup(pgid: number): number {
  return listProcStats()
    .filter((stat) => stat.pgid === pgid && isAlive(stat))
    .reduce((sum, stat) => sum + rssBytesOf(stat.pid), 0);
}

function rssBytesOf(pid: number): number {
  const kilobytes = /^VmRSS:\s+(\d+) kB$/m.exec(readProcFile(pid, 'status') ?? '')?.[1];
  return Number(kilobytes ?? 0) * 1024;
}

function listPids(): number[] {
  try {
    return readdirSync('/proc')
      .filter((name) => /^\d+$/.test(name))
      .map(Number);
  } catch {
    // No /proc on this system.
    return [];
  }
}

function readProcFile(pid: number, file: 'stat' | 'status' | 'environ' | 'cgroup'): string | undefined {
  try {
    return readFileSync(`/proc/${pid}/${file}`, 'utf8');
  } catch {
    // The process has ended, its files may not be read, or there is no /proc: in each case nothing is known.
    return undefined;
  }
}
