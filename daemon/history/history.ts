// The history of sessions as the rest of the daemon sees it: a store of transcripts that outlive their live sessions.
// `store.ts` keeps transcripts in files; `agent-history.ts` reads those that an agent keeps itself.

import type { FeedShelved } from '../contract/feed.ts';
import type { SessionCheckout } from '../domain/checkout-request.ts';
import type { EncodedEvent } from '../domain/frame.ts';
import type { TranscriptSource } from './paging.ts';

/** One entry of a transcript, in the order in which it happened. */
export interface HistoryRecord {
  /** Unique and stable within the session; anchors and cursors name records by it. */
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
  /** Nothing has been said in the session yet. */
  readonly isBlank?: true;
  /** The agent keeps the transcript of what was said; ours states that there is the session, and how its prompts ended. */
  readonly isKeptByAgent?: true;
}

/** What is stated of a session when its transcript is begun. */
export type BegunSession = Omit<StoredSession, 'updatedAtMs' | 'isArchived' | 'isBlank'>;

/** Whether the session outlives its close. One in which nothing was said does not, unless a client named or archived it. */
export function isWorthKeeping({ isBlank, isArchived, displayName }: StoredSession): boolean {
  return isBlank !== true || isArchived || displayName !== undefined;
}

/** Where a session that is not live stands in listings. @param stored undefined when nothing is stored of the session. */
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
  /** Whether the session's events are recorded. If the agent keeps the transcript, only the ends of turns are. */
  readonly keepsEvents: boolean;
  /** Highest event id of the transcript, 0 for a new transcript: ids of the session's bus start above it. */
  readonly lastId: number;
  /**
   * Notes a bus event, whose id becomes its record's. Events that belong to no transcript are ignored. The record is written
   * with the next `flush`.
   */
  note(event: EncodedEvent): void;
  /** Hands the noted records to the operating system, so that a kill -9 of this process loses none of them. */
  flush(): void;
  change(change: StoredChange): void;
  /** Whether a write has failed; events from then on are not in the transcript. */
  readonly isDegraded: boolean;
  /**
   * Whether the transcript has all that was recorded: nothing was dropped to keep it within its bounds, no write has failed.
   */
  readonly isWhole: boolean;
  /** Flushes and closes. Idempotent. */
  close(): void;
}

export interface History {
  /** Creates the session's transcript, or opens an existing one at its end; a torn last line is dropped. */
  begin(session: BegunSession, onDegraded: () => void): Recording;
  /**
   * States a session, of which something may be stored already. Does nothing while the session's recording is open, which
   * states the session itself.
   * @throws the system's error.
   */
  state(session: StoredSession): void;
  /** All sessions of which something is stored, newest first. */
  list(): readonly StoredSession[];
  find(sessionId: string): StoredSession | undefined;
  /**
   * The whole transcript, in order. `isPartial`: some lines could not be read; the others are returned.
   * @returns undefined when nothing is stored for the id.
   */
  read(sessionId: string): Promise<StoredTranscript | undefined>;
  /**
   * Calls `use` with the transcript, which is not in memory as a whole: it can be read until what `use` returns is settled.
   * @returns what `use` returns; undefined as `read`.
   * @throws the system's error, and what `use` throws.
   */
  using<T>(sessionId: string, use: (source: TranscriptSource) => Promise<T>): Promise<T | undefined>;
  /** @returns false when nothing is stored or nothing changes. @throws the system's error when the change cannot be written. */
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
