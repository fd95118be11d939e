// The store as the rest of the coordinator sees it: nouns, plain records, synchronous calls. `open.ts` makes one.
// Every write that changes a state also writes its event row in the same transaction.
import type { FeedPrompt, FeedSession } from '../../daemon/contract/feed.ts';

export interface WorkspaceRow {
  readonly id: string;
  readonly path: string;
  readonly displayName: string | null;
  /** `static`: named on the command line; `dynamic`: added by a call or opened under a root, kept over restarts. */
  readonly origin: 'static' | 'dynamic';
  readonly createdAtMs: number;
}

export interface DaemonRow {
  readonly incarnation: string;
  readonly workspaceId: string;
  readonly state: 'starting' | 'ready' | 'ended';
  readonly socketPath: string;
  readonly secret: string;
  readonly bootId: string;
  /** Null until the process exists. */
  readonly pid: number | null;
  readonly startTime: number | null;
  readonly version: string | null;
  readonly logPath: string;
  readonly createdAtMs: number;
  /** Epoch ms until which a `starting` row without a pid may still become a process. */
  readonly startDeadlineAtMs: number;
  readonly endedAtMs: number | null;
  readonly exitCode: number | null;
  readonly exitSignal: string | null;
  readonly endReason: string | null;
}

export interface SessionRow {
  readonly sessionId: string;
  readonly workspaceId: string;
  readonly incarnation: string;
  readonly state: 'live' | 'closed';
  readonly createdAtMs: number;
  readonly lastSeenAtMs: number;
  readonly displayName: string | null;
  readonly sourceType: string | null;
  readonly sourceId: string | null;
  readonly isDefault: boolean;
  readonly endedAtMs: number | null;
  readonly endReason: string | null;
}

export interface PromptRow {
  readonly promptId: string;
  readonly sessionId: string;
  readonly state: FeedPrompt['state'];
  readonly admittedAtMs: number;
  readonly settledAtMs: number | null;
  readonly outcome: string | null;
}

export interface SeenEntry {
  readonly sessionId: string;
  /** Null is the session's anonymous watermark. */
  readonly clientId: string | null;
  readonly atMs: number;
}

export interface EventRow {
  readonly id: number;
  readonly atMs: number;
  readonly kind: string;
  readonly workspaceId: string | null;
  readonly incarnation: string | null;
  readonly sessionId: string | null;
  /** JSON object. */
  readonly detail: Readonly<Record<string, unknown>>;
}

export interface NewEvent {
  readonly kind: string;
  readonly workspaceId?: string;
  readonly incarnation?: string;
  readonly sessionId?: string;
  readonly detail?: Readonly<Record<string, unknown>>;
}

export interface Workspaces {
  /** Inserts, or updates origin and display name of a known id. */
  upsert(row: WorkspaceRow): void;
  list(): readonly WorkspaceRow[];
  remove(id: string): void;
}

export interface Daemons {
  /** Commits the row before the process is made. `incarnation` = `<workspaceId>-<n>`, n counting up for ever. */
  nextIncarnation(workspaceId: string): string;
  insertStarting(
    row: Omit<
      DaemonRow,
      'state' | 'pid' | 'startTime' | 'version' | 'endedAtMs' | 'exitCode' | 'exitSignal' | 'endReason'
    >,
  ): void;
  setPid(incarnation: string, pid: number, startTime: number): void;
  setReady(incarnation: string, version: string): void;
  /** Also closes every live session of the incarnation with `sessionReason`; returns their ids. */
  setEnded(
    incarnation: string,
    end: {
      readonly atMs: number;
      readonly code: number | null;
      readonly signal: string | null;
      readonly reason: string;
      readonly sessionReason: string;
    },
  ): readonly string[];
  /** Rows whose state is not `ended`. */
  unended(): readonly DaemonRow[];
  latest(workspaceId: string): DaemonRow | undefined;
  /** Number of starts of the workspace, ever. */
  countStarts(workspaceId: string): number;
}

export interface Sessions {
  /** Upserts the session with its clients (write-through, durable when it returns). */
  record(workspaceId: string, incarnation: string, session: FeedSession): void;
  close(sessionId: string, atMs: number, reason: string): void;
  get(sessionId: string): SessionRow | undefined;
  /** Registered client ids with counts and last-seen times. */
  clients(
    sessionId: string,
  ): readonly { readonly clientId: string; readonly count: number; readonly lastSeenAtMs: number }[];
  live(workspaceId?: string): readonly SessionRow[];
  countLive(workspaceId?: string): number;
}

export interface Prompts {
  /** Inserts or moves a prompt on; a settled prompt never changes again. */
  record(prompt: FeedPrompt): void;
  get(promptId: string): PromptRow | undefined;
  unsettled(sessionId: string): readonly PromptRow[];
}

export interface Heartbeats {
  /** Writes the batch in key order, at most `maxRows` in one transaction; returns how many rows were left for a later call. */
  flush(entries: readonly SeenEntry[], maxRows: number): number;
}

export interface Events {
  append(event: NewEvent): void;
  recent(filter: { readonly workspaceId?: string; readonly limit: number }): readonly EventRow[];
}

export interface StoreFacts {
  readonly path: string;
  readonly bytes: number;
  readonly walBytes: number;
  readonly schemaVersion: number;
  readonly sessions: number;
  readonly events: number;
}

export interface Store {
  readonly workspaces: Workspaces;
  readonly daemons: Daemons;
  readonly sessions: Sessions;
  readonly prompts: Prompts;
  readonly heartbeats: Heartbeats;
  readonly events: Events;
  /** Runs `work` in one transaction: all of its writes or none. */
  transaction<T>(work: () => T): T;
  facts(): StoreFacts;
  /** Checkpoints and closes. Idempotent. */
  close(): void;
}
