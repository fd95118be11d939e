// The interface of the store, which keeps the coordinator's persistent data: plain records, synchronous calls. `openStore` makes
// one. Every write that changes a state also writes an event row in the same transaction.
import type { FeedPrompt, FeedSession, FeedShelved, Shelf } from '../../daemon/contract/feed.ts';
import type { DaemonEndKind, SessionState } from '../domain/session.ts';

export interface WorkspaceRow {
  readonly id: string;
  readonly path: string;
  readonly displayName: string | null;
  /** `static`: named on the command line; `dynamic`: added by a call or opened under a root, kept over restarts. */
  readonly origin: 'static' | 'dynamic';
  readonly createdAtMs: number;
}

/** An operator's settings of a workspace. */
export interface WorkspaceSettings {
  /** Overrides the coordinator's idle timeout for this workspace; null: the coordinator's holds. */
  readonly idleTimeoutMs: number | null;
  /** Whether the workspace's daemon is never stopped for idleness or evicted. */
  readonly isPinned: boolean;
  /** Why the workspace is drained and takes no new sessions and prompts; null when it is not drained. */
  readonly holdReason: string | null;
  /** How long the drain lets turns go on before it ends the daemon; null: the configured drain timeout. */
  readonly holdDrainMs: number | null;
}

export interface DaemonRow {
  readonly incarnation: string;
  readonly workspaceId: string;
  readonly state: 'starting' | 'ready' | 'ended';
  /** A `LaunchHandle`, by which the launcher finds the daemon again; only launchers read this text. */
  readonly launchHandle: string;
  /** The daemon's address as text, without credentials (upstream/address.ts); null until the daemon has been ready. */
  readonly address: string | null;
  /** All credentials for requests to the daemon; empty once the daemon has ended, and in backups. */
  readonly secret: string;
  readonly version: string | null;
  readonly createdAtMs: number;
  /** Epoch ms until which the start of a row in state `starting` may still make a daemon, also when it was interrupted. */
  readonly startDeadlineAtMs: number;
  readonly endedAtMs: number | null;
  readonly exitCode: number | null;
  readonly exitSignal: string | null;
  readonly endReason: string | null;
  /** 1 when the daemon's agent can load sessions, 0 when not, null until that is known. */
  readonly canLoad: 0 | 1 | null;
}

export interface SessionRow {
  readonly sessionId: string;
  readonly workspaceId: string;
  readonly incarnation: string;
  readonly state: SessionState;
  readonly createdAtMs: number;
  readonly lastSeenAtMs: number;
  readonly displayName: string | null;
  readonly sourceType: string | null;
  readonly sourceId: string | null;
  readonly isDefault: boolean;
  /** Highest event id of the session's bus that a daemon reported. */
  readonly eventHead: number;
  readonly endedAtMs: number | null;
  readonly endReason: string | null;
  /** Where the list of the workspace shows the session when no daemon has it. */
  readonly shelf: Shelf;
}

export interface PromptRow {
  readonly promptId: string;
  readonly sessionId: string;
  readonly state: FeedPrompt['state'];
  readonly admittedAtMs: number;
  readonly settledAtMs: number | null;
  readonly outcome: string | null;
}

/** When a client was last seen on a session. */
export interface SeenEntry {
  readonly sessionId: string;
  /** Null for heartbeats of the session without client id. */
  readonly clientId: string | null;
  readonly atMs: number;
}

/** An event of `why`, as stored. */
export interface EventRow {
  readonly id: number;
  readonly atMs: number;
  readonly kind: string;
  readonly workspaceId: string | null;
  readonly incarnation: string | null;
  readonly sessionId: string | null;
  /** What else is to be said of the event; stored as JSON. */
  readonly detail: Readonly<Record<string, unknown>>;
}

export interface NewEvent {
  readonly kind: string;
  readonly workspaceId?: string;
  readonly incarnation?: string;
  readonly sessionId?: string;
  readonly detail?: Readonly<Record<string, unknown>>;
}

/** A running daemon that has no row, or a row without secret, as its note describes it. */
export type RecoveredDaemon = Pick<
  DaemonRow,
  'incarnation' | 'workspaceId' | 'launchHandle' | 'secret' | 'createdAtMs'
>;

/** The launcher's facts of a daemon for people to read (`LaunchFacts`), as the store writes them into event rows. */
export type ShownFacts = Readonly<Record<string, string | number | null>>;

export interface Workspaces {
  /** Inserts the workspace; of a workspace with a row, updates origin and display name. */
  upsert(row: WorkspaceRow): void;
  list(): readonly WorkspaceRow[];
  remove(id: string): void;
  /** The operator's settings of the workspace; the defaults for an id without a row. */
  settings(id: string): WorkspaceSettings;
  change(id: string, change: Partial<WorkspaceSettings>): void;
}

export interface Daemons {
  /** Issues the name of the workspace's next daemon: `<workspaceId>-<n>`; n counts up and is never used twice. */
  nextIncarnation(workspaceId: string): string;
  /** Inserts the row of a daemon that is to be started. Call it before `Launcher.start`. */
  insertStarting(row: RecoveredDaemon & Pick<DaemonRow, 'startDeadlineAtMs'>): void;
  /** Records that the launcher has made the daemon: `launchHandle` replaces the planned handle. */
  setLaunched(incarnation: string, launchHandle: string, facts: ShownFacts): void;
  setReady(
    incarnation: string,
    ready: { readonly version: string; readonly address: string; readonly secret: string },
  ): void;
  setCanLoad(incarnation: string, canLoad: boolean): void;
  /**
   * Records the daemon's end, and moves every live session of it to the state that the table of domain/session.ts gives.
   * @returns these sessions with their new states; none when the incarnation is unknown or already ended.
   */
  setEnded(
    incarnation: string,
    end: {
      readonly atMs: number;
      readonly code: number | null;
      readonly signal: string | null;
      readonly reason: string;
      readonly kind: DaemonEndKind;
      /** Kind and further detail of the event row; absent: kind `daemon_ended`. */
      readonly event?: { readonly kind: string; readonly detail: Readonly<Record<string, unknown>> };
    },
  ): readonly { readonly sessionId: string; readonly state: SessionState }[];
  /**
   * Adds the row or the secret of a running daemon that this database lacks, because it is new or was restored from a backup.
   * Does nothing when the row has its secret, or is ended. The workspace's incarnation numbers go on above the daemon's.
   * @returns whether anything changed.
   */
  recover(row: RecoveredDaemon, facts: ShownFacts): boolean;
  /** All rows whose state is not `ended`, oldest first. */
  unended(): readonly DaemonRow[];
  find(incarnation: string): DaemonRow | undefined;
  latest(workspaceId: string): DaemonRow | undefined;
  /** Number of starts of the workspace's daemons, ever; 0 when the table cannot be read. */
  countStarts(workspaceId: string): number;
}

export interface Sessions {
  /**
   * Inserts or updates a session, with its clients, as its daemon reports it. Durable when the call returns.
   * @returns the session's state in the store: not `live` when the daemon has ended meanwhile.
   */
  record(workspaceId: string, incarnation: string, session: FeedSession): SessionState;
  /** Moves a session to a state other than `live`. `closed` settles its prompts as failed; other states leave them unsettled. */
  rest(sessionId: string, state: Exclude<SessionState, 'live'>, atMs: number, reason: string): void;
  setHead(sessionId: string, head: number): void;
  /** Records the shelf of a session. `record` resets it to `active`. */
  shelve(shelved: FeedShelved): void;
  /** The session's row. Upper and lower case of a UUID are the same; the row has the spelling that the daemon reported. */
  get(sessionId: string): SessionRow | undefined;
  /** The registered clients of a session: id, number of registrations, and when each was last seen. */
  clients(
    sessionId: string,
  ): readonly { readonly clientId: string; readonly count: number; readonly lastSeenAtMs: number }[];
  live(workspaceId?: string): readonly SessionRow[];
  /** Sessions of the workspace, except closed sessions on the shelf `gone`; newest first, at most `limit`. */
  newest(workspaceId: string, limit: number): readonly SessionRow[];
  /** Live, restoring and dormant sessions, of one workspace or of all; oldest first. */
  open(workspaceId?: string): readonly SessionRow[];
  /** Number of live and restoring sessions, of one workspace or of all: what counts against the session limits. */
  countLive(workspaceId?: string): number;
}

export interface Prompts {
  /** Inserts the prompt, or updates its state. A settled prompt never changes again. */
  record(prompt: FeedPrompt): void;
  get(promptId: string): PromptRow | undefined;
  unsettled(sessionId: string): readonly PromptRow[];
  /** Settles the session's unsettled prompts as failed; returns their ids. */
  failUnsettled(sessionId: string, atMs: number, outcome: string): readonly string[];
}

export interface Heartbeats {
  /**
   * Writes at most `maxRows` of the entries, in key order and one transaction. Skips entries of sessions that are not live.
   * @returns how many entries were left for a later call.
   */
  flush(entries: readonly SeenEntry[], maxRows: number): number;
}

export interface Events {
  append(event: NewEvent): void;
  recent(filter: { readonly workspaceId?: string; readonly limit: number }): readonly EventRow[];
  /** The newest events of a workspace, newest first, without the events of sessions and prompts. */
  story(workspaceId: string, limit: number): readonly EventRow[];
}

/** What diagnostics show of the database. */
export interface StoreFacts {
  readonly path: string;
  readonly bytes: number;
  readonly walBytes: number;
  readonly schemaVersion: number;
  /** Number of live and restoring sessions; null when the table cannot be read. */
  readonly sessions: number | null;
  readonly events: number | null;
  /** Sentences for an operator: what is or was wrong with the database, and what to do. Empty when nothing is. */
  readonly warnings: readonly string[];
}

/** A backup that was made: its file and its size, and how many sessions it contains. */
export interface BackupFacts {
  readonly file: string;
  readonly bytes: number;
  readonly sessions: number;
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
  /** The state of the database for diagnostics. Never throws. */
  facts(): StoreFacts;
  /** Deletes rows that are too old or too many, and checkpoints. Calls must not overlap. @throws ApiError 507 */
  upkeep(): Promise<void>;
  /**
   * Copies the database into `file` (absolute) while it is in use, without the daemons' secrets; mode 0600.
   * @throws ApiError 409 when `file` exists, 400 when it cannot be made; Error when the copy fails.
   */
  backup(file: string): Promise<BackupFacts>;
  /** Checkpoints and closes the database. Idempotent. */
  close(): void;
}
