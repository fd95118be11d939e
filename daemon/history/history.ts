// The interface of the history store, which keeps sessions and their transcripts beyond the sessions' live time.
// `store.ts` keeps transcripts in files; `agent-history.ts` reads transcripts that an agent keeps itself.

import type { FeedShelved } from '../contract/feed.ts';
import type { SessionCheckout } from '../domain/checkout-request.ts';
import type { EncodedEvent } from '../domain/frame.ts';
import type { TranscriptSource } from './paging.ts';

/** One entry of a transcript, in the order in which it happened. */
export interface HistoryRecord {
  /** Unique and stable within the session; cursors and anchors of pages name records by this id. */
  readonly recordId: string;
  readonly atMs: number;
  /** Event type as on the bus: `session_update` and the terminal event of each turn. */
  readonly type: string;
  readonly data: Readonly<Record<string, unknown>>;
  readonly promptId?: string;
  readonly originatorClientId?: string;
}

/** What the store states of a session, live or not: the fields that listings show. */
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
  /** Nothing has been said in the session yet. */
  readonly isBlank?: true;
  /** The agent keeps the transcript; the daemon's file only states the session, and how its prompts ended. */
  readonly isKeptByAgent?: true;
}

/** The fields of a session that are known when its transcript is begun. */
export type BegunSession = Omit<StoredSession, 'updatedAtMs' | 'isArchived' | 'isBlank'>;

/** Whether a closed session stays in listings: not if nothing was said in it, unless a client named or archived it. */
export function isWorthKeeping({ isBlank, isArchived, displayName }: StoredSession): boolean {
  return isBlank !== true || isArchived || displayName !== undefined;
}

/** The shelf and name of a session that is not live. @param stored undefined when nothing is stored of the session. */
export function shelvedAs(sessionId: string, stored: StoredSession | undefined): FeedShelved {
  if (stored === undefined || !isWorthKeeping(stored)) return { sessionId, shelf: 'gone' };
  const { displayName, isArchived } = stored;
  const name = displayName === undefined ? {} : { displayName };
  return { sessionId, shelf: isArchived ? 'archived' : 'active', ...name };
}

/** The stored fields that a live session may change. */
export type StoredChange = Partial<Pick<StoredSession, 'displayName' | 'titleSource'>>;

/**
 * Writes the transcript of one live session. No method throws: after a failed write nothing more is written, and `isDegraded`
 * is true.
 */
export interface Recording {
  /** Whether all events of the transcript are recorded; if the agent keeps the transcript, only ends of turns are. */
  readonly keepsEvents: boolean;
  /** Highest event id of the transcript, 0 for a new transcript. Event ids of the session's bus start above this. */
  readonly lastId: number;
  /**
   * Takes an event of the bus, whose id becomes the record's id. Events that belong to no transcript are ignored. The record is
   * written with the next `flush`.
   */
  note(event: EncodedEvent): void;
  /** Writes the noted records to the file, so that a kill -9 of this process loses none of them. */
  flush(): void;
  change(change: StoredChange): void;
  /** Whether a write has failed; later events are not in the transcript. */
  readonly isDegraded: boolean;
  /**
   * Whether the transcript has all that was recorded: nothing was dropped to keep it within its bounds, no write has failed.
   */
  readonly isWhole: boolean;
  /** Flushes, and closes the transcript's file. Idempotent. */
  close(): void;
}

export interface History {
  /** Creates the session's transcript, or opens an existing one at its end; a torn last line is dropped. */
  begin(session: BegunSession, onDegraded: () => void): Recording;
  /**
   * Writes a statement of a session, whether or not the session has a file. Does nothing while the session's recording is open,
   * because the recording writes the statements then.
   * @throws the system's error.
   */
  state(session: StoredSession): void;
  /** All sessions of which something is stored, newest first. */
  list(): readonly StoredSession[];
  find(sessionId: string): StoredSession | undefined;
  /**
   * Reads the whole transcript, in order. `isPartial`: some lines could not be read, all other lines are returned.
   * @returns undefined when nothing is stored for the id.
   */
  read(sessionId: string): Promise<StoredTranscript | undefined>;
  /**
   * Calls `use` with the transcript, whose records are read from the file on demand, until the promise of `use` is settled.
   * @returns what `use` returns; undefined as `read`.
   * @throws the system's error, and what `use` throws.
   */
  using<T>(sessionId: string, use: (source: TranscriptSource) => Promise<T>): Promise<T | undefined>;
  /** Moves a session to or from the archive. @returns false if not stored, or there already. @throws the system's error. */
  setArchived(sessionId: string, isArchived: boolean): boolean;
  /** Closes the session's recording and removes what is stored. @returns false when nothing is stored. */
  remove(sessionId: string): boolean;
}

export interface StoredTranscript {
  readonly session: StoredSession;
  readonly records: readonly HistoryRecord[];
  readonly isPartial: boolean;
  /** What was dropped from the transcript's beginning to keep it within its bounds; 0 when nothing was. */
  readonly droppedTurns: number;
  readonly droppedEvents: number;
}
