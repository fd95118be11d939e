// Ends a daemon whose feed no coordinator reads any more. After `orphanLimitMs` the daemon refuses new work and lets running work
// finish, for at most `orphanDrainMs`; then it ends itself. A coordinator that reads the feed again before that finds the daemon
// as it was.
import type { Clock } from '../contract/clock.ts';
import type { Limits } from '../contract/limits.ts';
import type { Log } from '../contract/log.ts';
import type { LiveSessions } from '../sessions/live-sessions.ts';
import type { FeedPublisher } from './publisher.ts';

export interface OrphanWatchDeps {
  readonly clock: Clock;
  readonly log: Log;
  readonly limits: Pick<Limits, 'orphanLimitMs' | 'orphanDrainMs'>;
  readonly sessions: Pick<LiveSessions, 'intake' | 'isQuiet'>;
  readonly feed: Pick<FeedPublisher, 'readerlessSinceMs' | 'onFollowed'>;
  /** Ends the daemon. @param why for the log. */
  readonly end: (why: string) => void;
}

export class OrphanWatch {
  readonly #deps: OrphanWatchDeps;
  /** Monotonic time at which the daemon ends even if it still works; undefined while it does not drain. */
  #drainUntilMs: number | undefined;

  constructor(deps: OrphanWatchDeps) {
    this.#deps = deps;
    deps.feed.onFollowed(() => this.#followed());
  }

  /**
   * Checks whether a coordinator reads the feed; to be called every few seconds. Ends an orphaned daemon at the first check that
   * finds it quiet, or past its drain deadline.
   */
  look(): void {
    const { clock, limits, sessions, feed, end } = this.#deps;
    const sinceMs = feed.readerlessSinceMs;
    if (limits.orphanLimitMs === 0 || sinceMs === undefined) return;
    const nowMs = clock.monotonicMs();
    if (nowMs - sinceMs <= limits.orphanLimitMs) return;
    this.#drainUntilMs ??= this.#beginDrain(nowMs);
    const why = 'no coordinator has read the feed for too long';
    if (sessions.isQuiet) end(why);
    else if (nowMs >= this.#drainUntilMs) end(`${why}, and its work did not end in time`);
  }

  /** A coordinator reads the feed again: if the daemon was draining, it takes new work again. */
  #followed(): void {
    if (this.#drainUntilMs === undefined) return;
    this.#drainUntilMs = undefined;
    this.#deps.sessions.intake.resume();
    this.#deps.log.info('a coordinator reads the feed again: taking new work again');
  }

  /** Refuses new work from now on. @returns the time at which the daemon ends even if it still works, monotonic ms. */
  #beginDrain(nowMs: number): number {
    const { limits, sessions, log } = this.#deps;
    const { orphanLimitMs, orphanDrainMs } = limits;
    log.warn({ orphanLimitMs, orphanDrainMs }, 'no coordinator has read the feed for too long: draining');
    sessions.intake.pause();
    return nowMs + orphanDrainMs;
  }
}
