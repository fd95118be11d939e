// Keeps workspace and state of each session in memory, because every request about a session needs them.
import { sessionKey } from '../../../daemon/contract/wire.ts';
import type { SessionState } from '../../domain/session.ts';
import type { Store } from '../../store/store.ts';
import type { SessionIndex, SessionLocation } from '../fleet.ts';

export class StoredSessionIndex implements SessionIndex {
  readonly #sessions: Pick<Store['sessions'], 'get'>;
  /** The sessions that are not closed, by `sessionKey`. */
  readonly #locations = new Map<string, SessionLocation>();

  /** Reads the sessions that are not closed from the store. */
  constructor({ sessions }: Pick<Store, 'sessions'>) {
    this.#sessions = sessions;
    for (const { sessionId, workspaceId, state } of sessions.open())
      this.locate(sessionId, workspaceId, state);
  }

  find(sessionId: string): SessionLocation | undefined {
    return this.#locations.get(sessionKey(sessionId));
  }

  ownerOf(sessionId: string): string | undefined {
    const key = sessionKey(sessionId);
    return this.#locations.get(key)?.workspaceId ?? this.#sessions.get(key)?.workspaceId;
  }

  /** Sets the session's workspace and state. Call it after the store has recorded them. */
  locate(sessionId: string, workspaceId: string, state: SessionState): void {
    const key = sessionKey(sessionId);
    if (state === 'closed') this.#locations.delete(key);
    else this.#locations.set(key, { workspaceId, state });
  }
}
