// What a coordinator asks a daemon over its socket beside the feed (identity, release, restore), and the headers between them.
import type { FeedClient } from './feed.ts';

/** Path that answers the incarnation nonce and whether the daemon is ending. */
export const IDENTITY_PATH = '/control/identity';
/** Brings a session of an earlier incarnation back to life under its old id (`RestoreRequest` -> `RestoreAnswer`). */
export const RESTORE_PATH = '/control/restore';
/** Ends the daemon's work and streams before its process (`ReleaseRequest` -> `ReleaseAnswer`). */
export const RELEASE_PATH = '/control/release';
/** Header on answers that made a session live, and on a prompt's 202: the feed `seq` that covers what was acknowledged. */
export const FEED_SEQ_HEADER = 'x-qwen-feed-seq';

/** Who the client really is, set by the coordinator and believed by a daemon only with the incarnation's secret. */
export const PEER_HEADER = 'x-qwen-coordinator-peer';
export const TOKEN_NAME_HEADER = 'x-qwen-coordinator-token-name';
/** Prefix of every header of this kind: what a client sends under it is dropped. */
export const INTERNAL_HEADER_PREFIX = 'x-qwen-coordinator-';
export const REQUEST_ID_HEADER = 'x-request-id';

/** Body of GET /control/identity. */
export interface DaemonIdentity {
  readonly contract: number;
  readonly incarnation: string;
  readonly pid: number;
  readonly startTime: number;
  readonly version: string;
  /** It takes no new work for good: it ends by itself, or was released and waits for its signal. */
  readonly ending: boolean;
}

/** Coordinator -> daemon, POST RELEASE_PATH. */
export interface ReleaseRequest {
  /** Do nothing while there is work: a turn, a permission question, what the agent holds, a session on its way. */
  readonly onlyIfQuiet: boolean;
}

export interface ReleaseAnswer {
  readonly released: boolean;
}

/** What a restored bus starts above: last told head + this. No cursor of an old bus reaches it. */
export const ID_FLOOR_GAP = 10_000;

/** Coordinator -> daemon, POST RESTORE_PATH. */
export interface RestoreRequest {
  readonly sessionId: string;
  /** Ids of the new bus start above it; its ring is empty and its epoch new. */
  readonly idFloor: number;
  /** Registrations that go on working under their old ids. */
  readonly clients: readonly FeedClient[];
  readonly isDefault: boolean;
  readonly createdAtMs: number;
  readonly displayName?: string;
  readonly sourceType?: string;
  readonly sourceId?: string;
  /**
   * Prompts of whose end no record has come. One whose end is in the session's transcript is told with that end; every other
   * one is reported, once, as `turn_error` code `daemon_restarted`.
   */
  readonly lostPrompts: readonly string[];
}

export interface RestoreAnswer {
  readonly sessionId: string;
  /** Feed record after which the session is in the feed. */
  readonly feedSeq: number;
}
