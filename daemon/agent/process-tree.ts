// Everything that an agent started: its group, descendants that left the group, and double-forked ones that only their
// environment gives away. Finds and signals them; how long each may take is child.ts's matter.
import { descendantsOf, isAlive, listProcStats, type ProcStat, readEnvironValue } from '../contract/proc.ts';

/** Variable that marks the processes of one child. The incarnation's mark would also match the child that follows it. */
export const CHILD_MARK_ENV = 'QWEN_DAEMON_AGENT';

export class ProcessTree {
  readonly #leader: number;
  readonly #leaderStart: number;
  readonly #mark: string;
  /** pid -> start time of every process that was ever seen to belong to the tree. */
  readonly #members = new Map<number, number>();
  /** pid -> start time of processes whose environment was read and is not ours: reading it costs 0.2 ms each. */
  readonly #strangers = new Map<number, number>();
  #isReaped = false;

  /** `leader` leads its own process group; `mark` is the value of CHILD_MARK_ENV in its environment. */
  constructor(leader: number, leaderStart: number, mark: string) {
    this.#leader = leader;
    this.#leaderStart = leaderStart;
    this.#mark = mark;
  }

  /** The leader's pid was given back to the system: from now on only processes that were seen are signalled. */
  leaderExited(): void {
    this.#isReaped = true;
  }

  /** Looks at the process table. Before each signal: once a parent has died, its children cannot be traced to it. */
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
    // Unreaped, the leader still owns its pid, so the group id cannot mean anybody else's group.
    const isGroupOurs = !this.#isReaped || this.#leaderStart === 0;
    if (isGroupOurs) sendQuietly(-this.#leader, signal);
    for (const stat of alive) {
      const isReached = isGroupOurs && stat.pgid === this.#leader;
      if (!isReached) sendQuietly(stat.pid, signal);
    }
  }

  /** Whether nothing of the tree runs any more. */
  isGone(): boolean {
    if (!this.#isReaped) return false;
    return this.#leaderStart === 0 ? !isGroupPresent(this.#leader) : this.observe().length === 0;
  }

  #isMember(stat: ProcStat): boolean {
    if (stat.pid === this.#leader) return !this.#isReaped;
    if (stat.pid === process.pid || stat.startTime < this.#leaderStart) return false;
    // A pid is not reused while it names a group, so a group that outlives its leader is still the same one.
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
    // Ended meanwhile, or it changed its user and is out of our reach.
  }
}
