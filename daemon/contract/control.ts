// The control routes of a daemon, which only its coordinator calls (identity, release, restore), and the headers between the
// two processes.
import type { FeedClient } from './feed.ts';

/** GET: identifies the daemon (`DaemonIdentity`). */
export const IDENTITY_PATH = '/control/identity';
/** POST: restores a session of an earlier incarnation under its old id (`RestoreRequest` -> `RestoreAnswer`). */
export const RESTORE_PATH = '/control/restore';
/** POST: ends the daemon's work and streams, before its process is told to exit (`ReleaseRequest` -> `ReleaseAnswer`). */
export const RELEASE_PATH = '/control/release';
/**
 * Header of the answer to a request that made a session live or queued a prompt: a coordinator that has read the feed up to
 * this `seq` knows of that session or prompt.
 */
export const FEED_SEQ_HEADER = 'x-qwen-feed-seq';

/** Where the client is (`Peer`). Set by the coordinator; a daemon trusts it only in requests with the incarnation's secret. */
export const PEER_HEADER = 'x-qwen-coordinator-peer';
/** Name of the token that the client sent to the coordinator. Set and trusted like `PEER_HEADER`. */
export const TOKEN_NAME_HEADER = 'x-qwen-coordinator-token-name';
/** Prefix of every header that only a coordinator sets: headers with this prefix are removed from clients' requests. */
export const INTERNAL_HEADER_PREFIX = 'x-qwen-coordinator-';
export const REQUEST_ID_HEADER = 'x-request-id';

/** Body of the answer to a GET of IDENTITY_PATH. */
export interface DaemonIdentity {
  readonly contract: number;
  readonly incarnation: string;
  readonly pid: number;
  readonly startTime: number;
  readonly version: string;
  /** Whether the daemon will never take new work again: it ends by itself, or was released and waits for SIGTERM. */
  readonly ending: boolean;
}

/** Body of a POST to RELEASE_PATH. */
export interface ReleaseRequest {
  /** Refuse the release while there is work: a turn, a question, background work of the agent, a session being made. */
  readonly onlyIfQuiet: boolean;
}

export interface ReleaseAnswer {
  /** False when the daemon has refused the release because there is work. */
  readonly released: boolean;
}

/** The id floor of a restored session is its last reported event id plus this gap: no cursor of the old bus reaches the sum. */
export const ID_FLOOR_GAP = 10_000;

/** Body of a POST to RESTORE_PATH. */
export interface RestoreRequest {
  readonly sessionId: string;
  /** Event ids of the session's new bus start above this. The bus begins with an empty ring and a new epoch. */
  readonly idFloor: number;
  /** The clients that were registered on the session; their ids stay valid. */
  readonly clients: readonly FeedClient[];
  readonly isDefault: boolean;
  readonly createdAtMs: number;
  readonly displayName?: string;
  readonly sourceType?: string;
  readonly sourceId?: string;
  /**
   * Prompts whose end the coordinator has not heard of. If the session's transcript has the end of such a prompt, the daemon
   * reports that end; else it publishes a `turn_error` of code `daemon_restarted`, once.
   */
  readonly lostPrompts: readonly string[];
}

export interface RestoreAnswer {
  readonly sessionId: string;
  /** `seq` of the feed record that reports the session. */
  readonly feedSeq: number;
}
