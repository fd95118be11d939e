// Every process that belongs to a daemon, found in the process table and killed. A process is signalled only right after its
// start time was compared once more: the pid alone may have gone to another process by now.
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

/** Last argument pair of every daemon that a launcher starts. */
export const INCARNATION_FLAG = '--incarnation';

/** The daemon itself. */
export interface TreeRoot {
  readonly pid: number;
  /** Start time of the daemon, alive or dead: no process that started earlier can be its descendant. */
  readonly startTime: number;
  readonly incarnation: string;
}

/**
 * All living processes of the daemon's tree, the daemon itself not included: descendants, members of its session, bearers
 * of its incarnation, and the same again of those. Descendants and the incarnation complement each other: a process may
 * lose its parent or its environment, seldom both.
 *
 * `isSessionKept`: the daemon was seen alive a moment ago, so its session id cannot have gone to other processes. Pass false
 * for a daemon that died unobserved.
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
 * Processes that carry the incarnation in their environment. A process gets that variable only by descent from a daemon of that
 * name. Two state directories can count to the same name for the same workspace, though never at once (the per-user workspace
 * lock); so where another daemon of the name is seen, every bearer that is no older is taken for its descendant and spared.
 */
function bearersOf(root: TreeRoot, table: readonly ProcStat[]): (stat: ProcStat) => boolean {
  const isBearer = (stat: ProcStat) => readEnvironValue(stat.pid, INCARNATION_ENV) === root.incarnation;
  const bearers = table.filter((stat) => stat.pid !== root.pid && isBearer(stat));
  const otherDaemons = bearers.filter((stat) => isDaemon(stat, root.incarnation));
  const before = Math.min(...otherDaemons.map((stat) => stat.startTime));
  const own = new Set(bearers.filter((stat) => stat.startTime < before).map((stat) => stat.pid));
  return (stat) => own.has(stat.pid);
}

/** Adds descendants and session mates until nothing new is found. A session cannot be joined from outside. */
function closure(seeds: readonly ProcStat[], table: readonly ProcStat[]): ProcStat[] {
  const ownSession = readProcStat(process.pid)?.session;
  const found = new Map(seeds.map((stat) => [stat.pid, stat]));
  // The map grows while it is walked: new members are visited too.
  for (const member of found.values()) {
    const descendants = new Set(descendantsOf(member.pid, table));
    const isMate = (stat: ProcStat) => stat.session === member.session && member.session !== ownSession;
    for (const stat of table) if (descendants.has(stat.pid) || isMate(stat)) found.set(stat.pid, stat);
  }
  return [...found.values()];
}

/** The running daemon of that incarnation, for a handle without a pid. */
export function findDaemon(incarnation: string): ProcStat | undefined {
  return listProcStats().find((stat) => bearsMark(stat, incarnation));
}

/** Whether the process says in its arguments and in its environment that it is that daemon. */
export function bearsMark(stat: ProcStat, incarnation: string): boolean {
  return (
    isAlive(stat) &&
    isDaemon(stat, incarnation) &&
    readEnvironValue(stat.pid, INCARNATION_ENV) === incarnation
  );
}

/** Launchers start a daemon as the leader of a session of its own, with its incarnation in its arguments. */
function isDaemon(stat: ProcStat, incarnation: string): boolean {
  return stat.session === stat.pid && daemonCommandOf(stat.pid, incarnation) !== undefined;
}

/** Program and arguments before the incarnation; undefined when the process is gone or is not that incarnation. */
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

/** Sends `signal` if the pid is still that process. Returns whether the signal was sent. */
export function signalProcess(
  { pid, startTime }: Pick<ProcStat, 'pid' | 'startTime'>,
  signal: NodeJS.Signals,
): boolean {
  // Without /proc (macOS) no start time was noted either, and the pid is all there is.
  if (startTime !== 0 && !isStill({ pid, startTime })) return false;
  return send(pid, signal);
}

/** Kills every member that is still the process that was found, and its process group. Returns the members that were alive. */
export function killMembers(members: readonly ProcStat[]): ProcStat[] {
  const ownSession = readProcStat(process.pid)?.session;
  // Counted first: the signal to one member's group ends others before their turn.
  const alive = members.filter(isStill);
  for (const member of alive) {
    if (!isStill(member)) continue;
    // The group also gets what was forked since the table was read. A verified member keeps the group's number taken.
    // (-1 would be every process of this user.)
    if (member.session !== ownSession && member.pgid > 1) send(-member.pgid, 'SIGKILL');
    send(member.pid, 'SIGKILL');
  }
  return alive;
}

/** Whether the process that was noted under this pid still runs. */
export function isStill({ pid, startTime }: Pick<ProcStat, 'pid' | 'startTime'>): boolean {
  const now = readProcStat(pid);
  return now !== undefined && isAlive(now) && now.startTime === startTime;
}

function send(pid: number, signal: NodeJS.Signals): boolean {
  try {
    return process.kill(pid, signal);
  } catch {
    // ESRCH: the process has exited. EPERM: it runs as another user by now, whose processes are not ended.
    return false;
  }
}
