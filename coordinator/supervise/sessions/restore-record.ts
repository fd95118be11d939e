// Records the outcome of a restore: the session's state, its lost prompts, and an event row for `why`.
import type { Clock } from '../../../daemon/contract/clock.ts';
import { ApiError, messageOf } from '../../../daemon/contract/errors.ts';
import type { Log } from '../../../daemon/contract/log.ts';
import { nextState } from '../../domain/session.ts';
import type { SessionRow, Store } from '../../store/store.ts';
import type { EventJournal } from '../records/event-journal.ts';
import type { SessionRecorder } from '../records/session-recorder.ts';

export interface RestoreRecordDeps {
  readonly store: Pick<Store, 'sessions' | 'prompts'>;
  readonly recorder: Pick<SessionRecorder, 'rest'>;
  readonly journal: Pick<EventJournal, 'note'>;
  readonly clock: Clock;
  readonly log: Log;
}

export class RestoreRecord {
  readonly #deps: RestoreRecordDeps;

  constructor(deps: RestoreRecordDeps) {
    this.#deps = deps;
  }

  /**
   * Records that the daemon `incarnation` has the session again. Settles prompts lost with its earlier daemon as failed.
   * @throws ApiError 507.
   */
  succeeded(row: SessionRow, incarnation: string): void {
    const { store, clock } = this.#deps;
    store.prompts.failUnsettled(row.sessionId, clock.nowMs(), 'daemon_restarted');
    this.#note('session_back', row, { incarnation });
  }

  /**
   * Records that the session could not be restored: it becomes dormant, or closed when the agent does not know it any more. Never
   * throws: if the store refuses, the row stays as it is, and the next request for the session tries again.
   */
  failed(sessionId: string, error: unknown): void {
    const { store, log } = this.#deps;
    const isFinal = error instanceof ApiError && error.code === 'session_not_found';
    log.warn({ err: error, sessionId, isFinal }, 'a session could not be restored');
    try {
      const row = store.sessions.get(sessionId);
      if (row !== undefined && row.state !== 'live') this.#rest(row, isFinal, messageOf(error));
    } catch (cause) {
      log.warn({ err: cause, sessionId }, 'the failed restore could not be recorded');
    }
  }

  #rest(row: SessionRow, isFinal: boolean, why: string): void {
    const state = nextState(row.state, { type: 'restore_failed', isFinal }) ?? row.state;
    if (state !== 'live')
      this.#deps.recorder.rest(row.sessionId, state, isFinal ? 'restore_failed' : 'restore_postponed');
    this.#note('restore_failed', row, { why, becomes: state });
  }

  #note(kind: string, row: SessionRow, detail: Readonly<Record<string, unknown>>): void {
    const { workspaceId, incarnation, sessionId } = row;
    this.#deps.journal.note({ kind, workspaceId, incarnation, sessionId, detail });
  }
}
