// What becomes of a daemon that no coordinator follows any more. After the orphan limit it takes no new work and lets what it
// has come to its end, up to a deadline; then it ends itself. A coordinator that follows its feed again before that finds it
// as it was.
import type { Clock } from '../contract/clock.ts';
import type { Limits } from '../contract/limits.ts';
import type { Log } from '../contract/log.ts';
import type { LiveSessions } from '../sessions/live-sessions.ts';
import type { FeedPublisher } from './publisher.ts';

export interface OrphanWatchOptions {
  readonly clock: Clock;
  readonly log: Log;
  readonly limits: Pick<Limits, 'orphanLimitMs' | 'orphanDrainMs'>;
  readonly sessions: Pick<LiveSessions, 'intake' | 'isQuiet'>;
  readonly feed: Pick<FeedPublisher, 'readerlessSinceMs'>;
  /** Ends the daemon. */
  readonly end: (why: string) => void;
}

export class OrphanWatch {
  readonly #o: OrphanWatchOptions;
  /** Monotonic time at which whatever still runs is ended; undefined while it is no orphan. */
  #drainUntilMs: number | undefined;

  constructor(options: OrphanWatchOptions) {
    this.#o = options;
  }

  /** To be called every few seconds: an orphan ends at the first look that finds it quiet, or out of time. */
  look(): void {
    const { clock, limits, sessions, feed, end } = this.#o;
    const sinceMs = feed.readerlessSinceMs;
    if (limits.orphanLimitMs === 0 || sinceMs === undefined) return;
    const nowMs = clock.monotonicMs();
    if (nowMs - sinceMs <= limits.orphanLimitMs) return;
    this.#drainUntilMs ??= this.#beginDrain(nowMs);
    const why = 'no coordinator has read the feed for too long';
    if (sessions.isQuiet) end(why);
    else if (nowMs >= this.#drainUntilMs) end(`${why}, and its work did not end in time`);
  }

  /** A coordinator reads the feed. */
  followed(): void {
    if (this.#drainUntilMs === undefined) return;
    this.#drainUntilMs = undefined;
    this.#o.sessions.intake.resume();
    this.#o.log.info('a coordinator reads the feed again: taking new work again');
  }

  /** @returns the deadline. */
  #beginDrain(nowMs: number): number {
    const { limits, sessions, log } = this.#o;
    const { orphanLimitMs, orphanDrainMs } = limits;
    log.warn({ orphanLimitMs, orphanDrainMs }, 'no coordinator has read the feed for too long: draining');
    sessions.intake.pause();
    return nowMs + orphanDrainMs;
  }
}
