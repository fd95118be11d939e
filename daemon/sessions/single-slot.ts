// The workspace's slot: the session that all `single` requests share, and the spawn or restore that is about to fill the slot.

import { RequestedSettingRefused } from '../session/requested-settings.ts';
import type { Session } from '../session/session.ts';
import type { ObtainedSession, SpawnedSession } from './obtained.ts';
import type { SessionRegister } from './register.ts';

export class SingleSlot {
  readonly #register: Pick<SessionRegister, 'find'>;
  #filledBy: string | undefined;
  /**
   * The session that is being spawned or restored into the slot. Resolves undefined when the restore failed, or when the agent
   * refused only the settings of the spawn's own request: then each request that waited starts over.
   */
  #coming: Promise<Session | undefined> | undefined;

  constructor(register: Pick<SessionRegister, 'find'>) {
    this.#register = register;
  }

  isFilledBy({ sessionId }: Session): boolean {
    return sessionId === this.#filledBy;
  }

  /**
   * The session that fills the slot, else the session that is being spawned or restored into the slot, else a newly spawned
   * session. The session may have ended meanwhile.
   * @throws whatever `spawn` throws; but a `RequestedSettingRefused` only to the caller whose own spawn it was.
   */
  async obtain(spawn: () => Promise<SpawnedSession>): Promise<ObtainedSession> {
    const live = this.#filledBy === undefined ? undefined : this.#register.find(this.#filledBy);
    if (live?.channel.isDying === false) return attachedTo(live);
    if (this.#coming !== undefined) {
      const session = await this.#coming;
      return session === undefined ? this.obtain(spawn) : attachedTo(session);
    }
    const spawning = spawn();
    this.#coming = spawning.then(({ session }) => session, noneIfSettingRefused);
    // Prevents an unhandled rejection where no request waits; the requests that wait see the rejection all the same.
    this.#coming.catch(() => undefined);
    try {
      // Continues before the requests that wait: if this request's client has left by then, the client is detached first, which
      // ends a session that no other request shares.
      const spawned = await spawning;
      this.#fill(spawned.session);
      return { ...spawned, isAttached: false };
    } finally {
      this.#coming = undefined;
    }
  }

  /**
   * Makes `single` requests wait for a session that is being restored into the slot; does nothing where the slot is filled or
   * about to be filled. A failure of the restore reaches only the restore's own caller.
   */
  reserve(coming: Promise<Session>): void {
    coming.catch(() => undefined);
    if (this.#filledBy !== undefined || this.#coming !== undefined) return;
    const reserved = coming.then(
      (session) => {
        this.#fill(session);
        return session;
      },
      () => undefined,
    );
    this.#coming = reserved;
    void reserved.finally(() => {
      if (this.#coming === reserved) this.#coming = undefined;
    });
  }

  /**
   * Puts the session into the slot; if it has ended already, leaves the slot as it is, because no later end would vacate the
   * slot.
   */
  #fill(session: Session): void {
    if (!session.hasEnded) this.#filledBy = session.sessionId;
  }

  /** To be called when a session has ended: empties the slot if the session filled it. */
  vacate(session: Session): void {
    if (this.isFilledBy(session)) this.#filledBy = undefined;
  }
}

/**
 * Turns `RequestedSettingRefused` into undefined: the settings of one request are no reason to refuse the requests that share its
 * spawn.
 * @throws any other error
 */
function noneIfSettingRefused(error: unknown): undefined {
  if (!(error instanceof RequestedSettingRefused)) throw error;
}

function attachedTo(session: Session): ObtainedSession {
  return { session, isAttached: true, isModelApplied: undefined };
}
