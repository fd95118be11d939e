// The past of sessions as the rest of the daemon sees it: a store of transcripts that outlive their live sessions.
// `store.ts` keeps them in files; `agent-history.ts` asks an agent that keeps its own.

import type { FeedShelved } from '../contract/feed.ts';
import type { SessionCheckout } from '../domain/checkout-request.ts';
import type { EncodedEvent } from '../domain/frame.ts';
import type { TranscriptSource } from './paging.ts';

/** One entry of a transcript, in the order in which it happened. */
export interface HistoryRecord {
  /** Unique and stable within the session; anchors and cursors name it. */
  readonly recordId: string;
  readonly atMs: number;
  /** Event type as on the bus: `session_update` and the terminal event of each turn. */
  readonly type: string;
  readonly data: Readonly<Record<string, unknown>>;
  readonly promptId?: string;
  readonly originatorClientId?: string;
}

/** What listings show of a session that may not be live. */
export interface StoredSession {
  readonly sessionId: string;
  readonly workspaceCwd: string;
  readonly createdAtMs: number;
  readonly updatedAtMs: number;
  readonly displayName?: string;
  readonly titleSource?: 'manual' | 'auto';
  readonly sourceType?: string;
  readonly sourceId?: string;
  readonly parentSessionId?: string;
  readonly worktree?: SessionCheckout['worktree'];
  readonly branch?: SessionCheckout['branch'];
  readonly isArchived: boolean;
  /** Nothing has been said in it yet. */
  readonly isBlank?: true;
  /** What was said is in the agent's own transcript; ours states that there is such a session, and how its prompts ended. */
  readonly isKeptByAgent?: true;
}

/** What is stated of a session when its transcript is begun. */
export type BegunSession = Omit<StoredSession, 'updatedAtMs' | 'isArchived' | 'isBlank'>;

/** A session in which nothing was said is forgotten with its close, unless somebody named it or put it away. */
export function isWorthKeeping({ isBlank, isArchived, displayName }: StoredSession): boolean {
  return isBlank !== true || isArchived || displayName !== undefined;
}

/** Where a session that is not live stands in listings; undefined: nothing is stored of it. */
export function shelvedAs(sessionId: string, stored: StoredSession | undefined): FeedShelved {
  if (stored === undefined || !isWorthKeeping(stored)) return { sessionId, shelf: 'gone' };
  const { displayName, isArchived } = stored;
  const name = displayName === undefined ? {} : { displayName };
  return { sessionId, shelf: isArchived ? 'archived' : 'active', ...name };
}

/** What a session changes about itself while it is recorded. */
export type StoredChange = Partial<Pick<StoredSession, 'displayName' | 'titleSource'>>;

/** The open end of one live session's transcript. Nothing here throws: a failed write makes it degraded. */
export interface Recording {
  /** False where the agent keeps them: then only ends of turns are kept here. */
  readonly keepsEvents: boolean;
  /** Highest event id of the transcript, 0 for a new one: the session's bus starts above it. */
  readonly lastId: number;
  /** Notes a bus event; its id becomes the record's, and kinds that belong to no transcript are ignored. It is on disk after the next `flush`. */
  note(event: EncodedEvent): void;
  /** Hands what was noted to the operating system, so that a kill -9 of this process loses none of it. */
  flush(): void;
  change(change: StoredChange): void;
  /** True once a write has failed; events after that are not in the transcript. */
  readonly isDegraded: boolean;
  /** Nothing of the session has been dropped from the transcript to keep it within its bounds, or could not be written. */
  readonly isWhole: boolean;
  /** Flushes and closes. Idempotent. */
  close(): void;
}

export interface History {
  /** Creates the session's transcript, or opens an existing one at its end; a torn last line is dropped. */
  begin(session: BegunSession, onDegraded: () => void): Recording;
  /**
   * States a session, whether or not something was stored of it; nothing where its recording is open, which states it itself.
   * @throws the system's error.
   */
  state(session: StoredSession): void;
  /** Everything that is stored, newest first. */
  list(): readonly StoredSession[];
  find(sessionId: string): StoredSession | undefined;
  /**
   * The whole transcript, in order. Undefined when nothing is stored for the id.
   * `isPartial`: something could not be read; what could is returned.
   */
  read(sessionId: string): Promise<StoredTranscript | undefined>;
  /**
   * What `use` makes of the transcript, which is not held whole and can be read until then. Undefined as `read`.
   * @throws the system's error, and what `use` throws.
   */
  using<T>(sessionId: string, use: (source: TranscriptSource) => Promise<T>): Promise<T | undefined>;
  /** @returns false when there is nothing stored (or it was so already). @throws the system's error when it cannot be written. */
  setArchived(sessionId: string, isArchived: boolean): boolean;
  remove(sessionId: string): boolean;
}

export interface StoredTranscript {
  readonly session: StoredSession;
  readonly records: readonly HistoryRecord[];
  readonly isPartial: boolean;
  /** Older records were dropped to keep the transcript within its bounds; 0 when it is whole. */
  readonly droppedTurns: number;
  readonly droppedEvents: number;
}
