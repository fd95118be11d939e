// The interface `Fleet`: all that the rest of the coordinator may do with its daemons. supervisor/supervisor.ts implements it.

import type { FeedAgent, FeedBeat } from '../../daemon/contract/feed.ts';
import type { State } from '../domain/daemon-state.ts';
import type { DaemonEndKind, SessionState } from '../domain/session.ts';
import type { Endpoint } from '../upstream/endpoint.ts';

/** A workspace: what supervision needs of it. */
export interface WorkspaceKey {
  readonly id: string;
  /** Canonical path of the workspace's directory. */
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
  /** Number of requests that wait for the daemon. */
  readonly waiters: number;
  /** Why the workspace is held; absent unless `state` is `held`. */
  readonly heldWhy?: string;
  /** Number of starts of the workspace's daemons, ever. */
  readonly starts: number;
  /** How the workspace's last daemon ended; null when no daemon of it has ended, as far as is known. */
  readonly lastExit: {
    readonly atMs: number;
    readonly code: number | null;
    readonly signal: string | null;
    readonly reason: string;
    readonly lastLines: readonly string[];
  } | null;
}

/** The running daemons in the refusal at a limit: which could be ended to make room, and why the others cannot. */
export interface RoomReport {
  /** Ids of the workspaces whose daemon could be ended. */
  readonly evictable: readonly string[];
  readonly kept: readonly { readonly workspaceId: string; readonly reason: string }[];
}

/** How and why `Fleet.stop` ends a daemon. */
export interface FleetStop {
  /** Words for operators and clients. */
  readonly reason: string;
  /** Decides the next state of the daemon's sessions (domain/session.ts). */
  readonly kind: Exclude<DaemonEndKind, 'died' | 'idle'>;
  /** How long turns under way may go on; absent: the configured drain timeout. */
  readonly drainMs?: number;
}

/** The daemons of all workspaces. */
export interface Fleet {
  /**
   * The endpoint of the workspace's daemon, which is started first when none is ready. Concurrent calls share one start.
   * @throws ApiError 503 (with the reason, and Retry-After) or 504 `init_timeout` after `waiterDeadlineMs`; the signal's reason
   *   when `signal` aborts. A start that has not begun is given up when no other call waits for it.
   */
  ensureReady(workspace: WorkspaceKey, signal: AbortSignal): Promise<Endpoint>;
  /** As `ensureReady`, but starts no daemon. @throws ApiError 503 also when no daemon is ready or under way. */
  attend(workspace: WorkspaceKey, signal: AbortSignal): Promise<Endpoint>;
  /** The endpoint of a daemon that has its sessions: `ready` or `draining`. Undefined otherwise. Starts nothing. */
  reachOf(workspaceId: string): Endpoint | undefined;
  /** The endpoint of a daemon that is ready now; undefined otherwise. Starts nothing. */
  endpointOf(workspaceId: string): Endpoint | undefined;
  /**
   * Resolves `true` when the feed record `seq` of the incarnation is in the store, `false` when the feed is down or slow: then
   * the caller stores what the daemon's answer showed. Rejects with ApiError 507 when the store refuses the record.
   */
  stored(incarnation: string, seq: number): Promise<boolean>;
  /** The error with which the store refused the last feed record of the workspace's daemon; undefined when it took it. */
  storeRefusalOf(workspaceId: string): unknown;
  /**
   * Ends the workspace's daemon once its turns have ended, or after `drainMs`. Resolves when the daemon is gone; at once when no
   * daemon runs.
   */
  stop(workspaceId: string, end: FleetStop): Promise<void>;
  /**
   * Ends one idle daemon of another workspace, so that its sessions become dormant and no longer count against
   * `--max-total-sessions` (`limit`). Resolves when that daemon is gone; undefined when no daemon can be ended.
   */
  makeSessionRoom(forWorkspaceId: string, limit: number): Promise<void> | undefined;
  /** Why each running daemon cannot be ended to make room. */
  roomReport(): RoomReport;
  /** The command of the workspace's running daemon, if that differs from the configured command; else undefined. */
  otherCommandOf(workspaceId: string): readonly string[] | undefined;
  /** Sets the command of the workspace's later daemons (undefined: the configured one), and forgets past deaths for restarts. */
  startWith(workspaceId: string, command: readonly string[] | undefined): Promise<void>;
  /**
   * Drops the controller of a removed workspace.
   * @throws ApiError 409 `workspace_busy` while its daemon has not ended (`stop` first); 503 while the workspace is held.
   */
  forget(workspaceId: string): void;
  view(workspaceId: string): DaemonView | undefined;
  views(): readonly DaemonView[];
}

/** The workspace and the state of a session that is not closed. */
export interface SessionLocation {
  readonly workspaceId: string;
  readonly state: Exclude<SessionState, 'closed'>;
}

/** Finds the workspace and the state of a session. The session recorder keeps this index in step with the store. */
export interface SessionIndex {
  /** Workspace and state of the session; undefined when it is closed or unknown. */
  find(sessionId: string): SessionLocation | undefined;
  /** The id of the workspace that the session belongs to, also when the session is closed; undefined when it is unknown. */
  ownerOf(sessionId: string): string | undefined;
}
