// The feed to the coordinator, as the rooms that report on it see it. Implemented by feed/publisher.ts.
import type { FeedBody } from '../contract/feed.ts';

export interface CoordinatorFeed {
  /** Sends a record to every reader. @returns the record's `seq`. */
  publish(body: FeedBody): number;
  /** Notes a heartbeat of a client (undefined: of an anonymous one). Several of one client soon become one record. */
  seen(sessionId: string, clientId: string | undefined, atMs: number): void;
}
