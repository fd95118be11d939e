// Brings sessions back that have no daemon: by themselves after a crash or a replacement, or because a client asks for one.
import type { Clock, Timer } from '../../../daemon/contract/clock.ts';
import { ID_FLOOR_GAP, type RestoreAnswer, type RestoreRequest } from '../../../daemon/contract/control.ts';
import { ApiError, fail, messageOf } from '../../../daemon/contract/errors.ts';
import type { Log } from '../../../daemon/contract/log.ts';
import { nextState } from '../../domain/session.ts';
import type { SessionRow, Store } from '../../store/store.ts';
import type { Endpoint } from '../../upstream/endpoint.ts';
import type { Fleet, WorkspaceKey } from '../fleet.ts';
import type { EventJournal } from '../records/event-journal.ts';
import type { SessionRecorder } from '../records/session-recorder.ts';
import type { RestorableWorkspaces } from '../restorable-workspaces.ts';
import type { SuperviseSettings } from '../settings.ts';
import { untilAborted } from '../until-aborted.ts';
import { type RestoreJob, RestoreQueue } from './restore-queue.ts';

export interface RestorerDeps {
  readonly store: Store;
  readonly recorder: SessionRecorder;
  readonly journal: Pick<EventJournal, 'note'>;
  readonly fleet: Pick<Fleet, 'ensureReady' | 'stored'>;
  /** Tells which workspaces have sessions that are to come back by themselves. */
  readonly restorable: Pick<RestorableWorkspaces, 'subscribe'>;
  readonly workspaceById: (workspaceId: string) => WorkspaceKey | undefined;
  /** Asks a daemon. @throws the daemon's refusal as ApiError, 503 where it cannot be reached. */
  readonly restoreOn: (
    endpoint: Endpoint,
    request: RestoreRequest,
    signal: AbortSignal,
  ) => Promise<RestoreAnswer>;
  readonly clock: Clock;
  readonly log: Log;
  /** As `SessionAdmission.enter`, for a session that has slept. */
  readonly admit: (workspaceId: string, signal: AbortSignal) => Promise<() => void>;
  /** In [0, 1). */
  readonly random: () => number;
  readonly settings: Pick<SuperviseSettings, 'restoreConcurrency' | 'restoreTimeoutMs' | 'restoreWaitMs'>;
}

/** A daemon may die in the middle of bringing its sessions back; how often it is tried with the next one. */
const TRIES = 4;
/** Codes of a daemon, or an agent, that went away or did not come. */
const LOST: ReadonlySet<string> = new Set([
  'workspace_runtime_unavailable',
  'acp_channel_unavailable',
  'daemon_draining',
]);
const PAUSE_MS = 500;
/** The restores of a start begin within it, each workspace's at a random moment; a client's wish is not held back. */
const RESUME_SPREAD_MS = 500;
/** A workspace that cools off for longer is not waited for: its sessions sleep until somebody wants them. */
const MAX_PAUSE_MS = 10_000;

export class Restorer {
  readonly #deps: RestorerDeps;
  readonly #queue = new RestoreQueue();
  readonly #running = new Map<string, number>();
  readonly #stopped = new AbortController();

  constructor(deps: RestorerDeps) {
    this.#deps = deps;
    deps.restorable.subscribe((workspaceId) => this.#restoreAll(workspaceId));
  }

  /** Starts restoring every session of the workspace that is in `restoring`. */
  #restoreAll(workspaceId: string): void {
    const rows = this.#deps.store.sessions.open(workspaceId).filter(({ state }) => state === 'restoring');
    for (const { sessionId } of rows) this.#queue.join(sessionId, workspaceId);
    this.#pump(workspaceId);
  }

  /** The same for every workspace, after a start of the coordinator: spread a little, so that not all start at once. */
  resume(): void {
    const rows = this.#deps.store.sessions.open().filter(({ state }) => state === 'restoring');
    for (const { sessionId, workspaceId } of rows) this.#queue.join(sessionId, workspaceId);
    for (const workspaceId of new Set(rows.map((row) => row.workspaceId)))
      void this.#pause(this.#deps.random() * RESUME_SPREAD_MS).then(() => this.#pump(workspaceId));
  }

  /**
   * Brings one session back before all others, for a client that wants it now. Resolves when it is live.
   * @throws ApiError of the restore; the signal's reason when the client leaves (the restore goes on).
   */
  async wake(sessionId: string, signal: AbortSignal): Promise<void> {
    const place = this.#deps.recorder.find(sessionId);
    if (place === undefined || place.state === 'live') return;
    const job = this.#queue.join(sessionId, place.workspaceId);
    this.#queue.toFront(job);
    this.#pump(place.workspaceId, job);
    await untilAborted(job.done, signal);
  }

  /**
   * Waits for a session that is coming back anyway, for at most the configured time.
   * @throws ApiError 503 when it is not back by then; the signal's reason when the client leaves.
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
   * Closes a session at rest because a client wants that. One that is queued to come back does not.
   * @returns false while its restore is under way: it is closed where it comes back, or nothing is done.
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

  /** Starts no further restore and ends the waits. Sessions keep their state for the next coordinator. */
  stop(): void {
    const error = fail('daemon_draining', 'The coordinator is shutting down');
    this.#stopped.abort(error);
    for (const job of this.#queue.all()) this.#queue.finish(job, error);
  }

  /** Starts what may start; `urgent` starts in any case. */
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

  /** Never rejects. */
  async #run(job: RestoreJob): Promise<void> {
    let failure: unknown;
    try {
      await this.#restore(job);
    } catch (error) {
      failure = error ?? new Error('the restore failed without a reason');
      this.#noteFailure(job, failure);
    }
    this.#queue.finish(job, failure);
  }

  async #restore(job: RestoreJob): Promise<void> {
    for (let attempt = 1; ; attempt += 1) {
      try {
        return await this.#attempt(job);
      } catch (error) {
        const pauseMs = pauseAfter(error);
        if (pauseMs === undefined || attempt === TRIES || this.#stopped.signal.aborted) throw error;
        this.#deps.log.info({ err: error, sessionId: job.sessionId, attempt }, 'retrying a restore');
        await this.#pause(pauseMs);
      }
    }
  }

  /** Ends early with the coordinator. */
  #pause(pauseMs: number): Promise<void> {
    const { signal } = this.#stopped;
    return new Promise((resolve) => {
      const over = () => {
        timer.cancel();
        signal.removeEventListener('abort', over);
        resolve();
      };
      const timer = this.#deps.clock.after(pauseMs, over);
      signal.addEventListener('abort', over);
    });
  }

  async #attempt(job: RestoreJob): Promise<void> {
    const { signal } = this.#stopped;
    signal.throwIfAborted();
    // One that comes back by itself has kept its place.
    const isAsleep = this.#deps.recorder.find(job.sessionId)?.state === 'dormant';
    const leave = isAsleep ? await this.#deps.admit(job.workspaceId, signal) : () => undefined;
    try {
      await this.#bringBack(job);
    } finally {
      leave();
    }
  }

  async #bringBack({ sessionId, workspaceId }: RestoreJob): Promise<void> {
    const { store, recorder, clock, settings, fleet, restoreOn } = this.#deps;
    const workspace = this.#deps.workspaceById(workspaceId);
    if (workspace === undefined)
      throw fail('session_not_found', 'Its workspace is no longer registered', { sessionId });
    const endpoint = await fleet.ensureReady(workspace, this.#stopped.signal);
    const row = store.sessions.get(sessionId);
    if (row === undefined || row.state === 'closed')
      throw fail('session_not_found', 'No such session', { sessionId });
    if (row.state === 'live') return;
    const deadline = AbortSignal.any([this.#stopped.signal, AbortSignal.timeout(settings.restoreTimeoutMs)]);
    const answer = await restoreOn(endpoint, this.#requestFor(row), deadline);
    if (!(await fleet.stored(endpoint.incarnation, answer.feedSeq)))
      recorder.recordSession(endpoint, liveSession(row, store, workspace.path));
    const now = recorder.find(sessionId)?.state;
    if (now === 'restoring' || now === 'dormant')
      throw fail('workspace_runtime_unavailable', 'The daemon died while restoring the session', {
        sessionId,
      });
    store.prompts.failUnsettled(row.sessionId, clock.nowMs(), 'daemon_restarted');
    this.#event('session_back', row, { incarnation: endpoint.incarnation });
  }

  #requestFor(row: SessionRow): RestoreRequest {
    const { store } = this.#deps;
    return {
      sessionId: row.sessionId,
      idFloor: row.eventHead + ID_FLOOR_GAP,
      clients: store.sessions.clients(row.sessionId),
      isDefault: row.isDefault,
      createdAtMs: row.createdAtMs,
      ...optionalColumns(row),
      lostPrompts: store.prompts.unsettled(row.sessionId).map(({ promptId }) => promptId),
    };
  }

  /** Never throws: where the store cannot take it, the row stays as it is and the next who wants the session tries again. */
  #noteFailure({ sessionId }: RestoreJob, error: unknown): void {
    if (this.#stopped.signal.aborted) return;
    const { store, log } = this.#deps;
    const isFinal = error instanceof ApiError && error.code === 'session_not_found';
    log.warn({ err: error, sessionId, isFinal }, 'a session could not be restored');
    try {
      const row = store.sessions.get(sessionId);
      if (row !== undefined && row.state !== 'live') this.#putToRest(row, isFinal, messageOf(error));
    } catch (cause) {
      log.warn({ err: cause, sessionId }, 'the failed restore could not be recorded');
    }
  }

  #putToRest(row: SessionRow, isFinal: boolean, why: string): void {
    const state = nextState(row.state, { type: 'restore_failed', isFinal }) ?? row.state;
    if (state !== 'live')
      this.#deps.recorder.rest(row.sessionId, state, isFinal ? 'restore_failed' : 'restore_postponed');
    this.#event('restore_failed', row, { why, becomes: state });
  }

  #event(kind: string, row: SessionRow, detail: Readonly<Record<string, unknown>>): void {
    const { workspaceId, incarnation, sessionId } = row;
    this.#deps.journal.note({ kind, workspaceId, incarnation, sessionId, detail });
  }
}

/** How long to wait for the next daemon after this failure; undefined when that would not help. */
function pauseAfter(error: unknown): number | undefined {
  if (!(error instanceof ApiError) || !LOST.has(String(error.code))) return undefined;
  const { retryAfterMs } = error.context;
  const pauseMs = typeof retryAfterMs === 'number' ? Math.max(retryAfterMs, PAUSE_MS) : PAUSE_MS;
  return pauseMs > MAX_PAUSE_MS ? undefined : pauseMs;
}

function optionalColumns({ displayName, sourceType, sourceId }: SessionRow) {
  return {
    ...(displayName === null ? {} : { displayName }),
    ...(sourceType === null ? {} : { sourceType }),
    ...(sourceId === null ? {} : { sourceId }),
  };
}

/** The row as a session of the daemon that has taken it back, for the moments in which the feed is down. */
function liveSession(row: SessionRow, store: Store, workspaceCwd: string) {
  const { sessionId, createdAtMs, lastSeenAtMs, isDefault, eventHead } = row;
  const clients = store.sessions.clients(sessionId);
  return {
    sessionId,
    workspaceCwd,
    createdAtMs,
    lastSeenAtMs,
    clients,
    isDefault,
    eventHead: eventHead + ID_FLOOR_GAP,
    ...optionalColumns(row),
  };
}

function stillRestoring(sessionId: string): ApiError {
  return fail('workspace_runtime_unavailable', 'The session is being restored', { sessionId });
}
