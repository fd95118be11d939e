// The control routes of a daemon, which only its coordinator calls (identity, release, restore), and the headers between the
// two processes.
import type { FeedClient } from './feed.ts';

/** Answers who the daemon is (`DaemonIdentity`). */
export const IDENTITY_PATH = '/control/identity';
/** Brings a session of an earlier incarnation back to life under its old id (`RestoreRequest` -> `RestoreAnswer`). */
export const RESTORE_PATH = '/control/restore';
/** Ends the daemon's work and streams before its process (`ReleaseRequest` -> `ReleaseAnswer`). */
export const RELEASE_PATH = '/control/release';
/**
 * Header of an answer that acknowledges a live session or a prompt: the `seq` of the feed up to which a coordinator has to read
 * to know what was acknowledged.
 */
export const FEED_SEQ_HEADER = 'x-qwen-feed-seq';

/** Where the client is (`Peer`). Set by the coordinator; a daemon believes it only with the incarnation's secret. */
export const PEER_HEADER = 'x-qwen-coordinator-peer';
/** Name of the token that the client showed to the coordinator. Set and believed like `PEER_HEADER`. */
export const TOKEN_NAME_HEADER = 'x-qwen-coordinator-token-name';
/** Prefix of every header that only a coordinator sets: a client's own headers under it are dropped. */
export const INTERNAL_HEADER_PREFIX = 'x-qwen-coordinator-';
export const REQUEST_ID_HEADER = 'x-request-id';

/** Body of GET /control/identity. */
export interface DaemonIdentity {
  readonly contract: number;
  readonly incarnation: string;
  readonly pid: number;
  readonly startTime: number;
  readonly version: string;
  /** Whether the daemon takes no new work for good: it ends by itself, or was released and waits for its signal. */
  readonly ending: boolean;
}

/** Body of POST RELEASE_PATH. */
export interface ReleaseRequest {
  /** Refuse while there is work: a turn, a permission question, background work of the agent, a session being made. */
  readonly onlyIfQuiet: boolean;
}

export interface ReleaseAnswer {
  /** False when the daemon has refused because of work. */
  readonly released: boolean;
}

/** Added to the last reported head, it is the floor of a restored bus's ids: no cursor of the old bus reaches it. */
export const ID_FLOOR_GAP = 10_000;

/** Body of POST RESTORE_PATH. */
export interface RestoreRequest {
  readonly sessionId: string;
  /** Event ids of the new bus start above it. The bus begins with an empty ring and a new epoch. */
  readonly idFloor: number;
  /** Registrations of clients, whose ids stay valid. */
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
