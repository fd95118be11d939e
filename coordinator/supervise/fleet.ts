// What the HTTP side may ask of the supervisor. Implemented by `supervisor.ts`; tests of http/ use a fake.
import type { FeedAgent, FeedBeat } from '../../daemon/contract/feed.ts';
import type { State } from '../domain/daemon-state.ts';

/** Where a ready daemon answers. */
export interface Endpoint {
  readonly workspaceId: string;
  readonly incarnation: string;
  readonly socketPath: string;
  readonly secret: string;
}

export interface WorkspaceKey {
  readonly id: string;
  readonly path: string;
}

/** What diagnostics show of one workspace's daemon. */
export interface DaemonView {
  readonly workspace: WorkspaceKey;
  readonly state: State;
  readonly incarnation: string | null;
  readonly pid: number | null;
  readonly version: string | null;
  readonly agent: FeedAgent | null;
  readonly lastBeat: FeedBeat | null;
  readonly isFeedUp: boolean;
  readonly waiters: number;
  readonly starts: number;
  readonly lastExit: {
    readonly atMs: number;
    readonly code: number | null;
    readonly signal: string | null;
    readonly reason: string;
    readonly lastLines: readonly string[];
  } | null;
}

export interface Fleet {
  /**
   * The endpoint of the workspace's daemon, started first if need be. Concurrent calls share one start.
   * @throws ApiError 503 (state's reason, Retry-After) or 504 `init_timeout` at the waiter's deadline.
   *   Rejects with the signal's reason when `signal` aborts; if that was the last waiter of a start not yet made, nothing is spawned.
   */
  ensureReady(workspace: WorkspaceKey, signal: AbortSignal): Promise<Endpoint>;
  /** The endpoint if the daemon is ready now. Starts nothing. */
  endpointOf(workspaceId: string): Endpoint | undefined;
  /**
   * Resolves when the feed record `seq` of the incarnation is in the store. Rejects when the store refused the write
   * (ApiError 507) and resolves `false` when the feed is down, so that the caller records what it saw itself.
   */
  stored(incarnation: string, seq: number): Promise<boolean>;
  /** Ends the workspace's daemon; resolves when it is gone. Resolves at once when none runs. */
  stop(workspaceId: string, reason: string): Promise<void>;
  /** Drops a removed workspace. @throws ApiError 409 `workspace_busy` while its daemon has not ended (`stop` first). */
  forget(workspaceId: string): void;
  view(workspaceId: string): DaemonView | undefined;
  views(): readonly DaemonView[];
}

/** Live session id -> workspace, kept in step with the store by the recorder. */
export interface SessionIndex {
  workspaceOf(sessionId: string): string | undefined;
}
