// One attempt to restore one session: gets the workspace's daemon ready and has it restore the session.
import { ID_FLOOR_GAP, type RestoreAnswer, type RestoreRequest } from '../../../daemon/contract/control.ts';
import { fail } from '../../../daemon/contract/errors.ts';
import type { FeedSession } from '../../../daemon/contract/feed.ts';
import type { SessionRow, Store } from '../../store/store.ts';
import type { Endpoint } from '../../upstream/endpoint.ts';
import type { Fleet, WorkspaceKey } from '../fleet.ts';
import type { SessionRecorder } from '../records/session-recorder.ts';
import type { SuperviseSettings } from '../settings.ts';
import type { SessionAdmission } from './admission.ts';
import type { RestoreRecord } from './restore-record.ts';

export interface SessionRestoreDeps {
  readonly store: Pick<Store, 'sessions' | 'prompts'>;
  readonly recorder: Pick<SessionRecorder, 'find' | 'recordSession'>;
  readonly record: Pick<RestoreRecord, 'succeeded'>;
  readonly admission: Pick<SessionAdmission, 'enter'>;
  readonly fleet: Pick<Fleet, 'ensureReady' | 'stored'>;
  readonly workspaceById: (workspaceId: string) => WorkspaceKey | undefined;
  /** Sends the restore request to a daemon. @throws its refusal as ApiError; 503 when the daemon cannot be reached. */
  readonly restoreOn: (
    endpoint: Endpoint,
    request: RestoreRequest,
    signal: AbortSignal,
  ) => Promise<RestoreAnswer>;
  readonly settings: Pick<SuperviseSettings, 'restoreTimeoutMs'>;
}

/** The session that is to be restored. */
export interface SessionToRestore {
  /** The session's key (`sessionKey`). */
  readonly sessionId: string;
  readonly workspaceId: string;
}

export class SessionRestore {
  readonly #deps: SessionRestoreDeps;

  constructor(deps: SessionRestoreDeps) {
    this.#deps = deps;
  }

  /**
   * Resolves when the session is live; at once when it is live already.
   * @throws ApiError 404 `session_not_found` when the session or its workspace is gone; the ApiError of the session limit, of the
   *   daemon's start, or of the daemon's answer to the restore request; the signal's reason.
   */
  async attempt(session: SessionToRestore, signal: AbortSignal): Promise<void> {
    const { recorder, admission } = this.#deps;
    signal.throwIfAborted();
    // Only a dormant session has to be admitted: a session in state `restoring` has counted against the limit all the time.
    const isAsleep = recorder.find(session.sessionId)?.state === 'dormant';
    const leave = isAsleep
      ? await admission.enter(session.workspaceId, { isSingle: false }, signal)
      : () => undefined;
    try {
      await this.#restore(session, signal);
    } finally {
      leave();
    }
  }

  async #restore({ sessionId, workspaceId }: SessionToRestore, signal: AbortSignal): Promise<void> {
    const { store, recorder, record, settings, fleet, workspaceById, restoreOn } = this.#deps;
    const workspace = workspaceById(workspaceId);
    if (workspace === undefined)
      throw fail('session_not_found', 'Its workspace is no longer registered', { sessionId });
    const endpoint = await fleet.ensureReady(workspace, signal);
    const row = store.sessions.get(sessionId);
    if (row === undefined || row.state === 'closed')
      throw fail('session_not_found', 'No such session', { sessionId });
    if (row.state === 'live') return;
    const deadline = AbortSignal.any([signal, AbortSignal.timeout(settings.restoreTimeoutMs)]);
    const answer = await restoreOn(endpoint, this.#requestFor(row), deadline);
    if (!(await fleet.stored(endpoint.incarnation, answer.feedSeq)))
      recorder.recordSession(endpoint, this.#restoredSession(row, workspace.path));
    const state = recorder.find(sessionId)?.state;
    if (state === 'restoring' || state === 'dormant')
      throw fail('workspace_runtime_unavailable', 'The daemon died while restoring the session', {
        sessionId,
      });
    record.succeeded(row, endpoint.incarnation);
  }

  #requestFor(row: SessionRow): RestoreRequest {
    const { sessions, prompts } = this.#deps.store;
    return {
      sessionId: row.sessionId,
      idFloor: row.eventHead + ID_FLOOR_GAP,
      clients: sessions.clients(row.sessionId),
      isDefault: row.isDefault,
      createdAtMs: row.createdAtMs,
      ...optionalColumns(row),
      lostPrompts: prompts.unsettled(row.sessionId).map(({ promptId }) => promptId),
    };
  }

  /** The restored session, made from its row: stored when the daemon's feed is down and cannot report the session. */
  #restoredSession(row: SessionRow, workspaceCwd: string): FeedSession {
    const { sessionId, createdAtMs, lastSeenAtMs, isDefault, eventHead } = row;
    return {
      sessionId,
      workspaceCwd,
      createdAtMs,
      lastSeenAtMs,
      clients: this.#deps.store.sessions.clients(sessionId),
      isDefault,
      eventHead: eventHead + ID_FLOOR_GAP,
      ...optionalColumns(row),
    };
  }
}

function optionalColumns({ displayName, sourceType, sourceId }: SessionRow) {
  return {
    ...(displayName === null ? {} : { displayName }),
    ...(sourceType === null ? {} : { sourceType }),
    ...(sourceId === null ? {} : { sourceId }),
  };
}
