// The store as the rest of the coordinator sees it: nouns, plain records, synchronous calls. `open.ts` makes one.
// Every write that changes a state also writes its event row in the same transaction.
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

/** What an operator has said of a workspace. */
export interface WorkspaceSettings {
  /** Null where the coordinator's own setting holds. */
  readonly idleTimeoutMs: number | null;
  /** Its daemon is never stopped for idleness or evicted. */
  readonly isPinned: boolean;
  /** Why it takes no new sessions and prompts; null when it does. */
  readonly holdReason: string | null;
  /** How long turns may go on when the drain has its daemon end; null: as configured. */
  readonly holdDrainMs: number | null;
}

export interface DaemonRow {
  readonly incarnation: string;
  readonly workspaceId: string;
  readonly state: 'starting' | 'ready' | 'ended';
  /** How the daemon's launcher finds it again; only launchers read this text. */
  readonly launchHandle: string;
  /** Where the daemon answers, without credentials (upstream/address.ts); null until the daemon has been ready. */
  readonly address: string | null;
  /** Every credential with which the daemon is asked; empty once the daemon has ended, and in backups. */
  readonly secret: string;
  readonly version: string | null;
  readonly createdAtMs: number;
  /** Epoch ms until which the start of a `starting` row may still make a daemon. */
  readonly startDeadlineAtMs: number;
  readonly endedAtMs: number | null;
  readonly exitCode: number | null;
  readonly exitSignal: string | null;
  readonly endReason: string | null;
  /** 1 when its agent can load sessions, null until that is known. */
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
  /** Highest event id of its bus that the daemon reported. */
  readonly eventHead: number;
  readonly endedAtMs: number | null;
  readonly endReason: string | null;
  /** Where it stands in the list of its workspace once it is closed. */
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

/** What is known of a running daemon without its row. */
export type RecoveredDaemon = Pick<
  DaemonRow,
  'incarnation' | 'workspaceId' | 'launchHandle' | 'secret' | 'createdAtMs'
>;

/** What a launcher knows of a daemon for people to read. The store writes it into event rows. */
export type ShownFacts = Readonly<Record<string, string | number | null>>;

export interface Workspaces {
  /** Inserts, or updates origin and display name of a known id. */
  upsert(row: WorkspaceRow): void;
  list(): readonly WorkspaceRow[];
  remove(id: string): void;
  /** Defaults for an id without a row. */
  settings(id: string): WorkspaceSettings;
  change(id: string, change: Partial<WorkspaceSettings>): void;
}

export interface Daemons {
  /** The name of the workspace's next daemon: `<workspaceId>-<n>`, n counting up for ever. */
  nextIncarnation(workspaceId: string): string;
  /** Commits the row of a daemon that is to be started; call it before the start. */
  insertStarting(row: RecoveredDaemon & Pick<DaemonRow, 'startDeadlineAtMs'>): void;
  /** The daemon was made: `launchHandle` replaces the planned handle. */
  setLaunched(incarnation: string, launchHandle: string, facts: ShownFacts): void;
  setReady(
    incarnation: string,
    ready: { readonly version: string; readonly address: string; readonly secret: string },
  ): void;
  setCanLoad(incarnation: string, canLoad: boolean): void;
  /** Also moves every live session of the incarnation on by the table of domain/session.ts; returns what each became. */
  setEnded(
    incarnation: string,
    end: {
      readonly atMs: number;
      readonly code: number | null;
      readonly signal: string | null;
      readonly reason: string;
      readonly kind: DaemonEndKind;
      /** What the event row says beyond the row's own columns; its `kind` defaults to `daemon_ended`. */
      readonly event?: { readonly kind: string; readonly detail: Readonly<Record<string, unknown>> };
    },
  ): readonly { readonly sessionId: string; readonly state: SessionState }[];
  /**
   * Adds the row of a daemon that runs though this database (a new or restored one) does not know the daemon or its secret.
   * Does nothing to a row that is whole or ended. Incarnation numbers go on above the daemon's.
   * @returns whether anything changed.
   */
  recover(row: RecoveredDaemon, facts: ShownFacts): boolean;
  /** Rows whose state is not `ended`. */
  unended(): readonly DaemonRow[];
  find(incarnation: string): DaemonRow | undefined;
  latest(workspaceId: string): DaemonRow | undefined;
  /** Number of starts of the workspace, ever; 0 when it cannot be read. */
  countStarts(workspaceId: string): number;
}

export interface Sessions {
  /**
   * Upserts the session with its clients (write-through, durable when it returns).
   * @returns the session's state in the store: not `live` where the daemon has ended meanwhile.
   */
  record(workspaceId: string, incarnation: string, session: FeedSession): SessionState;
  /** Takes a session to a state of rest. Closing settles its prompts as failed; the other states keep them to be reported. */
  rest(sessionId: string, state: Exclude<SessionState, 'live'>, atMs: number, reason: string): void;
  setHead(sessionId: string, head: number): void;
  /** Where a session stands in listings that come from here; a live one is active whatever was said before. */
  shelve(shelved: FeedShelved): void;
  /** A UUID is found in upper and lower case; the row has the spelling that its daemon reported. */
  get(sessionId: string): SessionRow | undefined;
  /** Registered client ids with counts and last-seen times. */
  clients(
    sessionId: string,
  ): readonly { readonly clientId: string; readonly count: number; readonly lastSeenAtMs: number }[];
  live(workspaceId?: string): readonly SessionRow[];
  /** Sessions of every state, except closed ones that are gone from their workspace's list; newest first, at most `limit`. */
  newest(workspaceId: string, limit: number): readonly SessionRow[];
  /** Live, restoring and dormant ones. */
  open(workspaceId?: string): readonly SessionRow[];
  /** Live and restoring ones: what the caps count. */
  countLive(workspaceId?: string): number;
}

export interface Prompts {
  /** Inserts or moves a prompt on; a settled prompt never changes again. */
  record(prompt: FeedPrompt): void;
  get(promptId: string): PromptRow | undefined;
  unsettled(sessionId: string): readonly PromptRow[];
  /** Settles the session's unsettled prompts as failed; returns their ids. */
  failUnsettled(sessionId: string, atMs: number, outcome: string): readonly string[];
}

export interface Heartbeats {
  /** Writes the batch in key order, at most `maxRows` in one transaction; returns how many rows were left for a later call. */
  flush(entries: readonly SeenEntry[], maxRows: number): number;
}

export interface Events {
  append(event: NewEvent): void;
  recent(filter: { readonly workspaceId?: string; readonly limit: number }): readonly EventRow[];
  /** The newest events of a workspace, newest first, without the coming and going of sessions and prompts. */
  story(workspaceId: string, limit: number): readonly EventRow[];
}

export interface StoreFacts {
  readonly path: string;
  readonly bytes: number;
  readonly walBytes: number;
  readonly schemaVersion: number;
  /** Null when it cannot be read. */
  readonly sessions: number | null;
  readonly events: number | null;
  /** What is or was wrong with the database, for an operator: why, and what to do. Empty when all is well. */
  readonly warnings: readonly string[];
}

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
  /** Never throws. */
  facts(): StoreFacts;
  /** Forgets what is too old or too much, in small batches, and checkpoints. Calls must not overlap. @throws ApiError 507 */
  upkeep(): Promise<void>;
  /**
   * Copies the database into `file` (absolute) while it is in use, without the daemons' secrets; mode 0600.
   * @throws ApiError 409 when `file` exists, 400 when it cannot be made; Error when the copy fails.
   */
  backup(file: string): Promise<BackupFacts>;
  /** Checkpoints and closes. Idempotent. */
  close(): void;
}
