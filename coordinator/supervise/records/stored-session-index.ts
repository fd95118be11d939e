// Where each session is, in memory: every request about a session asks for it.
import { sessionKey } from '../../../daemon/contract/wire.ts';
import type { SessionState } from '../../domain/session.ts';
import type { Store } from '../../store/store.ts';
import type { SessionIndex, SessionLocation } from '../fleet.ts';

export class StoredSessionIndex implements SessionIndex {
  readonly #sessions: Pick<Store['sessions'], 'get'>;
  /** Sessions that are not closed, by their keys. */
  readonly #locations = new Map<string, SessionLocation>();

  /** Begins with the sessions of the store that are not closed. */
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

  /** Takes over what the store has just recorded of the session. */
  locate(sessionId: string, workspaceId: string, state: SessionState): void {
    const key = sessionKey(sessionId);
    if (state === 'closed') this.#locations.delete(key);
    else this.#locations.set(key, { workspaceId, state });
  }
}
