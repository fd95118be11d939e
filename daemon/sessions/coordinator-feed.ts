// The feed to the coordinator, as the parts that report on it use it. Implemented by feed/publisher.ts.
import type { FeedBody } from '../contract/feed.ts';

export interface CoordinatorFeed {
  /** Sends a record to every reader. @returns the record's `seq`. */
  publish(body: FeedBody): number;
  /**
   * Notes a heartbeat of a client, an anonymous client where `clientId` is undefined. A client's heartbeats of a short time share
   * one record.
   */
  seen(sessionId: string, clientId: string | undefined, atMs: number): void;
}
