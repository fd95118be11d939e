// Reports live sessions on the feed: the session as it is now, its end, and its clients' heartbeats.
import type { Clock } from '../contract/clock.ts';
import type { Session } from '../session/session.ts';
import type { CoordinatorFeed } from './coordinator-feed.ts';
import type { SingleSlot } from './single-slot.ts';

export interface SessionReporterDeps {
  readonly feed: CoordinatorFeed;
  readonly slot: Pick<SingleSlot, 'isFilledBy'>;
  readonly clock: Clock;
}

export class SessionReporter {
  readonly #deps: SessionReporterDeps;

  constructor(deps: SessionReporterDeps) {
    this.#deps = deps;
  }

  /** Reports all fields of the session as they are now. @returns the record's `seq`. */
  report(session: Session): number {
    const { feed, slot } = this.#deps;
    return feed.publish({ type: 'session', session: session.feedSession(slot.isFilledBy(session)) });
  }

  ended({ sessionId }: Session, reason: string): void {
    const { feed, clock } = this.#deps;
    feed.publish({ type: 'session_ended', ended: { sessionId, reason, atMs: clock.nowMs() } });
  }

  /** Reports a client's heartbeat. @param clientId undefined for an anonymous client. */
  seen({ sessionId }: Session, clientId: string | undefined, atMs: number): void {
    this.#deps.feed.seen(sessionId, clientId, atMs);
  }
}
