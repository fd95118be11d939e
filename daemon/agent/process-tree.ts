// The processes of one agent child: its process group, descendants that left the group, and double-forked descendants that are
// recognised only by their environment. Finds and signals them; child.ts decides how long each signal has to take effect.
import { descendantsOf, isAlive, listProcStats, type ProcStat, readEnvironValue } from '../contract/proc.ts';

/**
 * Environment variable that marks the processes of one agent child. The daemon's own mark would also match the processes of the
 * daemon's next child.
 */
export const CHILD_MARK_ENV = 'QWEN_DAEMON_AGENT';

export class ProcessTree {
  readonly #leader: number;
  readonly #leaderStart: number;
  readonly #mark: string;
  /** pid -> start time of every process that was ever seen in the tree. */
  readonly #members = new Map<number, number>();
  /** pid -> start time of the processes whose environment was read and lacks the mark: reading one costs 0.2 ms. */
  readonly #strangers = new Map<number, number>();
  #isReaped = false;

  /**
   * @param leader pid of the child, which leads its own process group.
   * @param leaderStart start time of the leader; 0 where it cannot be read.
   * @param mark value of CHILD_MARK_ENV in the leader's environment.
   */
  constructor(leader: number, leaderStart: number, mark: string) {
    this.#leader = leader;
    this.#leaderStart = leaderStart;
    this.#mark = mark;
  }

  /**
   * To be called when the leader has exited: its pid may be reused, so from now on only processes that were seen in the tree are
   * signalled.
   */
  leaderExited(): void {
    this.#isReaped = true;
  }

  /**
   * Reads the process table and remembers the processes of the tree. To be called before each signal: once a parent has died, its
   * children cannot be traced to it.
   * @returns the living processes of the tree.
   */
  observe(): ProcStat[] {
    const stats = listProcStats().filter(isAlive);
    const started = new Map(stats.map((stat) => [stat.pid, stat.startTime]));
    const isKnown = (stat: ProcStat) => this.#members.get(stat.pid) === stat.startTime;
    const roots = stats.filter((stat) => isKnown(stat) || this.#isMember(stat));
    for (const root of roots) this.#members.set(root.pid, root.startTime);
    for (const root of roots)
      for (const pid of descendantsOf(root.pid, stats)) this.#members.set(pid, started.get(pid) ?? 0);
    return stats.filter(isKnown);
  }

  /** Sends `signal` to every living process of the tree, each at most once. */
  signal(signal: 'SIGTERM' | 'SIGKILL'): void {
    const alive = this.observe();
    // The group's id is the leader's pid, which is not reused until the leader is reaped. Without a start time nothing but the
    // group can be signalled.
    const isGroupOurs = !this.#isReaped || this.#leaderStart === 0;
    if (isGroupOurs) sendQuietly(-this.#leader, signal);
    for (const stat of alive) {
      const isReached = isGroupOurs && stat.pgid === this.#leader;
      if (!isReached) sendQuietly(stat.pid, signal);
    }
  }

  /** Whether no process of the tree runs any more. */
  isGone(): boolean {
    if (!this.#isReaped) return false;
    return this.#leaderStart === 0 ? !isGroupPresent(this.#leader) : this.observe().length === 0;
  }

  #isMember(stat: ProcStat): boolean {
    if (stat.pid === this.#leader) return !this.#isReaped;
    if (stat.pid === process.pid || stat.startTime < this.#leaderStart) return false;
    // A pid is not reused while a group has it as its id, so a group that outlives its leader is still the same group.
    return stat.pgid === this.#leader || this.#isMarked(stat);
  }

  #isMarked(stat: ProcStat): boolean {
    if (this.#strangers.get(stat.pid) === stat.startTime) return false;
    if (readEnvironValue(stat.pid, CHILD_MARK_ENV) === this.#mark) return true;
    this.#strangers.set(stat.pid, stat.startTime);
    return false;
  }
}

function isGroupPresent(pgid: number): boolean {
  try {
    process.kill(-pgid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}

function sendQuietly(target: number, signal: NodeJS.Signals): void {
  try {
    process.kill(target, signal);
  } catch {
    // The process ended meanwhile, or changed its user and cannot be signalled any more.
  }
}
