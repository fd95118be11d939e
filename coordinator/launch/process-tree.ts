// Finds every process that belongs to a daemon in the process table, and kills them. A process is signalled only right after
// its start time was compared once more, because its pid may belong to another process by now.
import { readFileSync } from 'node:fs';
import { INCARNATION_ENV } from '../../daemon/contract/handshake.ts';
import {
  descendantsOf,
  isAlive,
  listProcStats,
  type ProcStat,
  readEnvironValue,
  readProcStat,
} from '../../daemon/contract/proc.ts';

/** Flag whose value is the daemon's incarnation: the last two arguments of every daemon that a launcher starts. */
export const INCARNATION_FLAG = '--incarnation';

/** The daemon, as the root of its process tree. */
export interface TreeRoot {
  readonly pid: number;
  /** Start time of the daemon, alive or dead: no process that started earlier can be its descendant. */
  readonly startTime: number;
  readonly incarnation: string;
}

/**
 * All living processes of the daemon's tree, without the daemon: its descendants, the members of its process session, the
 * processes with its incarnation in their environment, and all descendants and session mates of these. Descent and environment
 * complement each other: a process may lose its parent or its environment, seldom both.
 * @param isSessionKept true when the daemon was seen alive a moment ago, so that its process session id cannot belong to other
 * processes yet; false for a daemon whose death nobody saw.
 */
export function findTree(root: TreeRoot, isSessionKept: boolean): ProcStat[] {
  const table = listProcStats().filter((stat) => isAlive(stat) && stat.startTime >= root.startTime);
  const isRoot = (stat: ProcStat) => stat.pid === root.pid && stat.startTime === root.startTime;
  const isRootAlive = table.some(isRoot);
  const descendants = new Set(isRootAlive ? descendantsOf(root.pid, table) : []);
  const mayBear = bearersOf(root, table);
  const seeds = table.filter(
    (stat) =>
      descendants.has(stat.pid) ||
      ((isSessionKept || isRootAlive) && stat.session === root.pid) ||
      mayBear(stat),
  );
  return closure(seeds, table).filter((stat) => !isRoot(stat) && stat.pid !== process.pid);
}

/**
 * A test for processes of this daemon by their environment: they have its incarnation in the variable that only a daemon's
 * descendants get. Two state directories can count to the same incarnation of one workspace, though never at once (the per-user
 * workspace lock). So when another daemon of the same incarnation runs, every bearer that is no older than it is spared.
 */
function bearersOf(root: TreeRoot, table: readonly ProcStat[]): (stat: ProcStat) => boolean {
  const isBearer = (stat: ProcStat) => readEnvironValue(stat.pid, INCARNATION_ENV) === root.incarnation;
  const bearers = table.filter((stat) => stat.pid !== root.pid && isBearer(stat));
  const otherDaemons = bearers.filter((stat) => isDaemon(stat, root.incarnation));
  const before = Math.min(...otherDaemons.map((stat) => stat.startTime));
  const own = new Set(bearers.filter((stat) => stat.startTime < before).map((stat) => stat.pid));
  return (stat) => own.has(stat.pid);
}

/**
 * The seeds with their descendants and the members of their process sessions, repeated until nothing new is found. Session
 * members are safe to add: no process can join a session from outside.
 */
function closure(seeds: readonly ProcStat[], table: readonly ProcStat[]): ProcStat[] {
  const ownSession = readProcStat(process.pid)?.session;
  const found = new Map(seeds.map((stat) => [stat.pid, stat]));
  // The loop also visits the members that it adds to the map.
  for (const member of found.values()) {
    const descendants = new Set(descendantsOf(member.pid, table));
    const isMate = (stat: ProcStat) => stat.session === member.session && member.session !== ownSession;
    for (const stat of table) if (descendants.has(stat.pid) || isMate(stat)) found.set(stat.pid, stat);
  }
  return [...found.values()];
}

/** The running daemon of that incarnation in the process table, for a mark without pid; undefined when there is none. */
export function findDaemon(incarnation: string): ProcStat | undefined {
  return listProcStats().find((stat) => bearsMark(stat, incarnation));
}

/** Whether the process lives and has that incarnation in its arguments and in its environment, as only the daemon has. */
export function bearsMark(stat: ProcStat, incarnation: string): boolean {
  return (
    isAlive(stat) &&
    isDaemon(stat, incarnation) &&
    readEnvironValue(stat.pid, INCARNATION_ENV) === incarnation
  );
}

/** Whether the process is a daemon of that incarnation: leader of a process session, with the incarnation in its arguments. */
function isDaemon(stat: ProcStat, incarnation: string): boolean {
  return stat.session === stat.pid && daemonCommandOf(stat.pid, incarnation) !== undefined;
}

/** Program and arguments of the process up to `--incarnation`; undefined when it is gone or has another incarnation. */
export function daemonCommandOf(pid: number, incarnation: string): readonly string[] | undefined {
  try {
    const args = readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0');
    const flag = args.indexOf(INCARNATION_FLAG);
    return flag > 0 && args[flag + 1] === incarnation ? args.slice(0, flag) : undefined;
  } catch {
    // The process is gone, or there is no /proc.
    return undefined;
  }
}

/** Sends `signal` if the pid still belongs to the process with that start time. Returns whether the signal was sent. */
export function signalProcess(
  { pid, startTime }: Pick<ProcStat, 'pid' | 'startTime'>,
  signal: NodeJS.Signals,
): boolean {
  // Start time 0: there is no /proc (macOS), and the pid alone has to do.
  if (startTime !== 0 && !isStill({ pid, startTime })) return false;
  return send(pid, signal);
}

/** Kills every member whose pid still has its start time, and its process group. Returns the members that were alive before. */
export function killMembers(members: readonly ProcStat[]): ProcStat[] {
  const ownSession = readProcStat(process.pid)?.session;
  // Filtered before the first signal: the signal to one member's process group ends other members before their turn.
  const alive = members.filter(isStill);
  for (const member of alive) {
    if (!isStill(member)) continue;
    // The signal to the process group also reaches what was forked since the table was read. The group's number cannot belong to
    // another group while a member lives. (-1 would be every process of this user.)
    if (member.session !== ownSession && member.pgid > 1) send(-member.pgid, 'SIGKILL');
    send(member.pid, 'SIGKILL');
  }
  return alive;
}

/** Whether the process with this pid and this start time still runs. */
export function isStill({ pid, startTime }: Pick<ProcStat, 'pid' | 'startTime'>): boolean {
  const now = readProcStat(pid);
  return now !== undefined && isAlive(now) && now.startTime === startTime;
}

function send(pid: number, signal: NodeJS.Signals): boolean {
  try {
    return process.kill(pid, signal);
  } catch {
    // ESRCH: the process has exited. EPERM: it runs as another user by now, and such a process is left alone.
    return false;
  }
}
