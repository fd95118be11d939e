// What the HTTP side may ask of the supervisor. Implemented by `supervisor.ts`; tests of http/ use a fake.

import type { FeedAgent, FeedBeat } from '../../daemon/contract/feed.ts';
import type { State } from '../domain/daemon-state.ts';
import type { DaemonEndKind, SessionState } from '../domain/session.ts';
import type { Endpoint } from '../upstream/endpoint.ts';

export interface WorkspaceKey {
  readonly id: string;
  readonly path: string;
}

/** What diagnostics show of one workspace's daemon. */
export interface DaemonView {
  readonly workspace: WorkspaceKey;
  /** `held`: a process that may be its daemon can be neither taken over nor proven dead, so nothing is started. */
  readonly state: State | 'held';
  readonly incarnation: string | null;
  readonly pid: number | null;
  readonly version: string | null;
  readonly agent: FeedAgent | null;
  readonly lastBeat: FeedBeat | null;
  readonly isFeedUp: boolean;
  readonly waiters: number;
  /** What cannot be proven of the process; only where it is `held`. */
  readonly heldWhy?: string;
  readonly starts: number;
  readonly lastExit: {
    readonly atMs: number;
    readonly code: number | null;
    readonly signal: string | null;
    readonly reason: string;
    readonly lastLines: readonly string[];
  } | null;
}

/** What an admission refusal tells of the daemons that take the places. */
export interface RoomReport {
  readonly evictable: readonly string[];
  readonly kept: readonly { readonly workspaceId: string; readonly reason: string }[];
}

export interface FleetStop {
  readonly reason: string;
  readonly kind: Exclude<DaemonEndKind, 'died' | 'idle'>;
  /** How long turns under way may go on; absent: the configured drain timeout. */
  readonly drainMs?: number;
}

export interface Fleet {
  /**
   * The endpoint of the workspace's daemon, started first if need be. Concurrent calls share one start.
   * @throws ApiError 503 (state's reason, Retry-After) or 504 `init_timeout` at the waiter's deadline.
   *   Rejects with the signal's reason when `signal` aborts; if that was the last waiter of a start not yet made, nothing is spawned.
   */
  ensureReady(workspace: WorkspaceKey, signal: AbortSignal): Promise<Endpoint>;
  /** Waits for a daemon that is being started or taken over. Starts none. @throws ApiError 503 where none is on its way. */
  attend(workspace: WorkspaceKey, signal: AbortSignal): Promise<Endpoint>;
  /** The endpoint while the daemon has its sessions: ready, or ending its turns. Starts nothing. */
  reachOf(workspaceId: string): Endpoint | undefined;
  /** The endpoint if the daemon is ready now. Starts nothing. */
  endpointOf(workspaceId: string): Endpoint | undefined;
  /**
   * Resolves when the feed record `seq` of the incarnation is in the store. Rejects when the store refused the write
   * (ApiError 507) and resolves `false` when the feed is down, so that the caller records what it saw itself.
   */
  stored(incarnation: string, seq: number): Promise<boolean>;
  /** Why nothing that the workspace's daemon tells can be stored at present; undefined when it can, as far as is known. */
  storeRefusalOf(workspaceId: string): unknown;
  /**
   * Ends the workspace's daemon once its turns have ended, or at the drain's deadline; resolves when it is gone, at once
   * when none runs. `kind` decides what becomes of its sessions.
   */
  stop(workspaceId: string, end: FleetStop): Promise<void>;
  /**
   * Begins to put the sessions of one idle daemon of another workspace to sleep, for the cap on all sessions together.
   * Resolves when they sleep; undefined when no daemon can go.
   */
  makeSessionRoom(forWorkspaceId: string, limit: number): Promise<void> | undefined;
  /** Why each daemon that runs cannot go for another. */
  roomReport(): RoomReport;
  /** What the workspace's daemon was started with, where a next one would be started with something else. */
  otherCommandOf(workspaceId: string): readonly string[] | undefined;
  /** Starts the workspace's daemons with `command` from now on (undefined: as configured), whatever became of the last. */
  startWith(workspaceId: string, command: readonly string[] | undefined): Promise<void>;
  /** Drops a removed workspace. @throws ApiError 409 `workspace_busy` while its daemon has not ended (`stop` first). */
  forget(workspaceId: string): void;
  view(workspaceId: string): DaemonView | undefined;
  views(): readonly DaemonView[];
}

/** Where a session that is not closed is, and how. */
export interface SessionLocation {
  readonly workspaceId: string;
  readonly state: Exclude<SessionState, 'closed'>;
}

/** Session ids and their places, kept in step with the store by the recorder. */
export interface SessionIndex {
  find(sessionId: string): SessionLocation | undefined;
  /** The workspace that the session belongs to, also when it is closed. */
  ownerOf(sessionId: string): string | undefined;
}
