// What the rest of the coordinator may ask of its daemons. Implemented by supervisor/supervisor.ts; tests of http/ use a fake.

import type { FeedAgent, FeedBeat } from '../../daemon/contract/feed.ts';
import type { State } from '../domain/daemon-state.ts';
import type { DaemonEndKind, SessionState } from '../domain/session.ts';
import type { Endpoint } from '../upstream/endpoint.ts';

export interface WorkspaceKey {
  readonly id: string;
  /** Canonical. */
  readonly path: string;
}

/** What diagnostics show of one workspace's daemon. */
export interface DaemonView {
  readonly workspace: WorkspaceKey;
  /** `held`: a process that may be the workspace's daemon can be neither taken over nor proven dead, so nothing is started. */
  readonly state: State | 'held';
  readonly incarnation: string | null;
  readonly pid: number | null;
  readonly version: string | null;
  readonly agent: FeedAgent | null;
  readonly lastBeat: FeedBeat | null;
  readonly isFeedUp: boolean;
  /** Requests that wait for the daemon. */
  readonly waiters: number;
  /** What cannot be proven of the process; only where the workspace is `held`. */
  readonly heldWhy?: string;
  /** Number of starts of the workspace's daemons, ever. */
  readonly starts: number;
  /** How the workspace's last daemon ended; null when none has. */
  readonly lastExit: {
    readonly atMs: number;
    readonly code: number | null;
    readonly signal: string | null;
    readonly reason: string;
    readonly lastLines: readonly string[];
  } | null;
}

/** What a refusal at a limit says of the daemons that run: which could go for another, and why the others cannot. */
export interface RoomReport {
  /** Workspace ids. */
  readonly evictable: readonly string[];
  readonly kept: readonly { readonly workspaceId: string; readonly reason: string }[];
}

/** How and why a daemon is to end. */
export interface FleetStop {
  /** For operators and clients. */
  readonly reason: string;
  /** Decides what becomes of the daemon's sessions. */
  readonly kind: Exclude<DaemonEndKind, 'died' | 'idle'>;
  /** How long turns under way may go on; absent: the configured drain timeout. */
  readonly drainMs?: number;
}

export interface Fleet {
  /**
   * The endpoint of the workspace's daemon, which is started first if need be. Concurrent calls share one start.
   * @throws ApiError 503 (state's reason, Retry-After) or 504 `init_timeout` at the waiter's deadline.
   *   Rejects with the signal's reason when `signal` aborts. Where no other call waits for a start that has not begun, nothing is
   *   spawned then.
   */
  ensureReady(workspace: WorkspaceKey, signal: AbortSignal): Promise<Endpoint>;
  /** As `ensureReady`, for a daemon that is being started or taken over already. @throws ApiError 503 where none is. */
  attend(workspace: WorkspaceKey, signal: AbortSignal): Promise<Endpoint>;
  /** The endpoint while the daemon has its sessions: it is ready, or ends its turns. Starts nothing. */
  reachOf(workspaceId: string): Endpoint | undefined;
  /** The endpoint if the daemon is ready now. Starts nothing. */
  endpointOf(workspaceId: string): Endpoint | undefined;
  /**
   * Resolves when the feed record `seq` of the incarnation is in the store. Rejects when the store refused the write
   * (ApiError 507) and resolves `false` when the feed is down, so that the caller records what it saw itself.
   */
  stored(incarnation: string, seq: number): Promise<boolean>;
  /** Why nothing that the workspace's daemon reports can be stored at present; undefined when it can, as far as is known. */
  storeRefusalOf(workspaceId: string): unknown;
  /**
   * Ends the workspace's daemon once its turns have ended, or at the drain's deadline. Resolves when the daemon is gone, at once
   * when none runs.
   */
  stop(workspaceId: string, end: FleetStop): Promise<void>;
  /**
   * Ends one idle daemon of another workspace, so that its sessions sleep and no longer count against the cap on all sessions.
   * Resolves when they sleep; undefined when no daemon can go.
   */
  makeSessionRoom(forWorkspaceId: string, limit: number): Promise<void> | undefined;
  /** Why each daemon that runs cannot end to make room for another. */
  roomReport(): RoomReport;
  /** The command that the workspace's daemon was started with, where the next one would be started with another. */
  otherCommandOf(workspaceId: string): readonly string[] | undefined;
  /** Starts the workspace's daemons with `command` from now on (undefined: as configured). Earlier deaths no longer count. */
  startWith(workspaceId: string, command: readonly string[] | undefined): Promise<void>;
  /** Drops a removed workspace. @throws ApiError 409 `workspace_busy` while its daemon has not ended (`stop` first). */
  forget(workspaceId: string): void;
  view(workspaceId: string): DaemonView | undefined;
  views(): readonly DaemonView[];
}

/** The workspace and the state of a session that is not closed. */
export interface SessionLocation {
  readonly workspaceId: string;
  readonly state: Exclude<SessionState, 'closed'>;
}

/** Where each session is. The recorder keeps the index in step with the store. */
export interface SessionIndex {
  /** Undefined for a session that is closed or unknown. */
  find(sessionId: string): SessionLocation | undefined;
  /** The id of the workspace that the session belongs to, also when the session is closed; undefined when it is unknown. */
  ownerOf(sessionId: string): string | undefined;
}
