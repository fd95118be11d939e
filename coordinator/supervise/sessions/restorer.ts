// Decides which sessions are restored and in which order: those in state `restoring` after a crash or a replacement of their
// daemon, and those that a client asks for. session-restore.ts restores a single session.
import type { Clock, Timer } from '../../../daemon/contract/clock.ts';
import { type ApiError, fail } from '../../../daemon/contract/errors.ts';
import type { Store } from '../../store/store.ts';
import type { SessionRecorder } from '../records/session-recorder.ts';
import type { RestorableWorkspaces } from '../restorable-workspaces.ts';
import type { SuperviseSettings } from '../settings.ts';
import { pauseUnlessAborted, untilAborted } from '../until-aborted.ts';
import { type RestoreJob, RestoreQueue } from './restore-queue.ts';
import type { RestoreRecord } from './restore-record.ts';
import type { SessionToRestore } from './session-restore.ts';

export interface RestorerDeps {
  readonly store: Pick<Store, 'sessions'>;
  readonly recorder: Pick<SessionRecorder, 'find' | 'rest'>;
  /** Reports every workspace whose sessions have moved to `restoring`. */
  readonly restorable: Pick<RestorableWorkspaces, 'subscribe'>;
  /** Restores one session. @throws the error of the restore; the signal's reason. */
  readonly restore: (session: SessionToRestore, signal: AbortSignal) => Promise<void>;
  readonly record: Pick<RestoreRecord, 'failed'>;
  readonly clock: Clock;
  /** Returns a random number in [0, 1), for the moment at which a workspace's restores begin. */
  readonly random: () => number;
  readonly settings: Pick<SuperviseSettings, 'restoreConcurrency' | 'restoreWaitMs'>;
}

/**
 * After a start of the coordinator the restores of each workspace begin at a random moment within this time, so that not all
 * daemons start at once. A session that a client asks for is restored at once.
 */
const RESUME_SPREAD_MS = 500;

export class Restorer {
  readonly #deps: RestorerDeps;
  readonly #queue = new RestoreQueue();
  /** Number of restores under way, by workspace. */
  readonly #running = new Map<string, number>();
  readonly #stopped = new AbortController();

  constructor(deps: RestorerDeps) {
    this.#deps = deps;
    deps.restorable.subscribe((workspaceId) => this.#restoreAll(workspaceId));
  }

  /** Queues every session of the workspace in state `restoring`, and starts restores. */
  #restoreAll(workspaceId: string): void {
    const rows = this.#deps.store.sessions.open(workspaceId).filter(({ state }) => state === 'restoring');
    for (const { sessionId } of rows) this.#queue.join(sessionId, workspaceId);
    this.#pump(workspaceId);
  }

  /**
   * Queues every session that an earlier coordinator left in state `restoring`; the restores of each workspace begin within
   * `RESUME_SPREAD_MS`. Call it once, when the listener is open.
   */
  resume(): void {
    const { store, clock, random } = this.#deps;
    const rows = store.sessions.open().filter(({ state }) => state === 'restoring');
    for (const { sessionId, workspaceId } of rows) this.#queue.join(sessionId, workspaceId);
    for (const workspaceId of new Set(rows.map((row) => row.workspaceId)))
      void pauseUnlessAborted(clock, random() * RESUME_SPREAD_MS, this.#stopped.signal).then(() =>
        this.#pump(workspaceId),
      );
  }

  /**
   * Restores one session at once, before all queued ones, because a request needs it. Resolves when the session is live.
   * @throws ApiError of the restore; the signal's reason when the client leaves (the restore goes on).
   */
  async wake(sessionId: string, signal: AbortSignal): Promise<void> {
    const location = this.#deps.recorder.find(sessionId);
    if (location === undefined || location.state === 'live') return;
    const job = this.#queue.join(sessionId, location.workspaceId);
    this.#queue.toFront(job);
    this.#pump(location.workspaceId, job);
    await untilAborted(job.done, signal);
  }

  /**
   * Waits until a session whose restore is queued or under way is live, for at most `restoreWaitMs`. Starts no restore.
   * @throws ApiError 503 when the session is not live by then; the signal's reason when the client leaves.
   */
  async await(sessionId: string, signal: AbortSignal): Promise<void> {
    const job = this.#queue.find(sessionId);
    if (job === undefined) return;
    let timer: Timer | undefined;
    const tooLate = new Promise<never>((_resolve, reject) => {
      const { clock, settings } = this.#deps;
      timer = clock.after(settings.restoreWaitMs, () => reject(stillRestoring(sessionId)));
    });
    try {
      await untilAborted(Promise.race([job.done, tooLate]), signal);
    } finally {
      timer?.cancel();
    }
  }

  /**
   * Closes a session that no daemon has, for a client's close request. Drops a queued restore of it.
   * @returns false, and does nothing, while the session's restore is under way: then its daemon has to close it.
   * @throws ApiError 507.
   */
  close(sessionId: string): boolean {
    const job = this.#queue.find(sessionId);
    if (job?.isStarted) return false;
    this.#deps.recorder.rest(sessionId, 'closed', 'client_close');
    if (job !== undefined)
      this.#queue.finish(job, fail('session_not_found', 'The session was closed', { sessionId }));
    return true;
  }

  /** Starts no further restore, and rejects all waits for restores. Sessions keep their state for the next coordinator. */
  stop(): void {
    const error = fail('daemon_draining', 'The coordinator is shutting down');
    this.#stopped.abort(error);
    for (const job of this.#queue.all()) this.#queue.finish(job, error);
  }

  /** Starts queued restores of the workspace, up to `restoreConcurrency` at the same time; `urgent` starts beyond that too. */
  #pump(workspaceId: string, urgent?: RestoreJob): void {
    if (this.#stopped.signal.aborted) return;
    if (urgent !== undefined && !urgent.isStarted) this.#start(urgent);
    for (const job of this.#queue.all()) {
      if ((this.#running.get(workspaceId) ?? 0) >= this.#deps.settings.restoreConcurrency) return;
      if (job.workspaceId === workspaceId && !job.isStarted) this.#start(job);
    }
  }

  #start(job: RestoreJob): void {
    const { workspaceId } = job;
    job.isStarted = true;
    this.#running.set(workspaceId, (this.#running.get(workspaceId) ?? 0) + 1);
    void this.#run(job).finally(() => {
      this.#running.set(workspaceId, (this.#running.get(workspaceId) ?? 1) - 1);
      this.#pump(workspaceId);
    });
  }

  /** Restores the job's session, and settles the job. Never rejects. */
  async #run(job: RestoreJob): Promise<void> {
    const { restore, record } = this.#deps;
    const { signal } = this.#stopped;
    let failure: unknown;
    try {
      await restore(job, signal);
    } catch (error) {
      failure = error ?? new Error('the restore failed without a reason');
      // When the coordinator stops, the session keeps its state for the next coordinator.
      if (!signal.aborted) record.failed(job.sessionId, failure);
    }
    this.#queue.finish(job, failure);
  }
}

function stillRestoring(sessionId: string): ApiError {
  return fail('workspace_runtime_unavailable', 'The session is being restored', { sessionId });
}
