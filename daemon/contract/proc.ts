// The process table as the kernel tells it (/proc), for whoever must find a process again or end a whole tree.
// Reads only, never signals. Where there is no /proc (macOS) every function answers "nothing known".
import { readdirSync, readFileSync } from 'node:fs';

/** One row of the process table, from /proc/pid/stat. */
export interface ProcStat {
  readonly pid: number;
  readonly ppid: number;
  readonly pgid: number;
  readonly session: number;
  /** Field 22: clock ticks since boot. With the pid it names one process for the life of the machine. */
  readonly startTime: number;
  /** One letter, as in proc(5). */
  readonly state: string;
}

/**
 * Parses the text of a stat file. Field 2, the command name, may hold spaces, parentheses and newlines of the process's
 * own choosing, so everything is counted from the last parenthesis. Undefined when it is no stat line.
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

/** Every process that this process may see. Not atomic: a process may end or fork while it is read. */
export function listProcStats(): ProcStat[] {
  return listPids()
    .map(readProcStat)
    .filter((stat) => stat !== undefined);
}

/** Whether the process still runs. A zombie holds its pid but no resource; it is dead. */
export function isAlive(stat: ProcStat): boolean {
  return stat.state !== 'Z' && stat.state !== 'X' && stat.state !== 'x';
}

/**
 * Children, grandchildren and so on of `pid` (itself not included), parents first. A process whose parent died before
 * the table was read has a new parent and is not found: read the table before any signal is sent.
 */
export function descendantsOf(pid: number, stats: readonly ProcStat[]): number[] {
  const children = new Map<number, number[]>();
  for (const stat of stats) {
    const siblings = children.get(stat.ppid);
    if (siblings === undefined) children.set(stat.ppid, [stat.pid]);
    else siblings.push(stat.pid);
  }
  const found = [...(children.get(pid) ?? [])];
  // The table is not atomic, so a reused pid could close a circle: every pid is visited once.
  const seen = new Set([pid, ...found]);
  for (const parent of found) {
    const unseen = (children.get(parent) ?? []).filter((child) => !seen.has(child));
    for (const child of unseen) seen.add(child);
    found.push(...unseen);
  }
  return found;
}

/**
 * A variable of the environment that the process was started with (later changes do not show). Undefined when it is
 * not set, the process is gone or a zombie, or belongs to another user.
 */
export function readEnvironValue(pid: number, name: string): string | undefined {
  const entry = readProcFile(pid, 'environ')
    ?.split('\0')
    .find((line) => line.startsWith(`${name}=`));
  return entry?.slice(name.length + 1);
}

/** Where the process is in the cgroup v2 hierarchy, as a path from its root. Undefined where that is not known. */
export function readCgroupPath(pid: number): string | undefined {
  return /^0::(.*)$/m.exec(readProcFile(pid, 'cgroup') ?? '')?.[1];
}

/** Resident memory of all processes of a group, shared pages counted in each. 0 when nothing can be read. */
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
    // Gone meanwhile, not ours to read, or no /proc: all of them mean "unknown".
    return undefined;
  }
}
