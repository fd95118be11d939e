// The single slot of the workspace: the session that every `single` request shares, and the one spawn or restore that is
// on its way into it.

import { RequestedSettingRefused } from '../session/requested-settings.ts';
import type { Session } from '../session/session.ts';
import type { ObtainedSession, SpawnedSession } from './obtained.ts';
import type { SessionRegister } from './register.ts';

export class SingleSlot {
  readonly #register: Pick<SessionRegister, 'find'>;
  #filledBy: string | undefined;
  /**
   * The session on its way into the slot. Resolves undefined when the restore failed, or when the spawn failed only for the
   * settings of its own request: then each request that waited spawns afresh.
   */
  #coming: Promise<Session | undefined> | undefined;

  constructor(register: Pick<SessionRegister, 'find'>) {
    this.#register = register;
  }

  isFilledBy({ sessionId }: Session): boolean {
    return sessionId === this.#filledBy;
  }

  /**
   * The session that fills the slot, else the one on its way, else a new one. The session may have ended meanwhile.
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
    // The requests that wait see the same rejection; this guard only keeps a rejection that none waits for from being unhandled.
    this.#coming.catch(() => undefined);
    try {
      // Continues before the requests that wait: if this request's client has left by then, it is detached first, which ends a
      // session that no other request shares.
      const spawned = await spawning;
      this.#fill(spawned.session);
      return { ...spawned, isAttached: false };
    } finally {
      this.#coming = undefined;
    }
  }

  /**
   * Makes requests wait for a session that is being restored into the slot; does nothing where the slot is filled or filling.
   * A failure of the restore is the concern of its own caller only.
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

  /** If the session already ended, leaves the slot as it is: no later end would vacate it. */
  #fill(session: Session): void {
    if (!session.hasEnded) this.#filledBy = session.sessionId;
  }

  /** The session has ended: if it was the one of the slot, the slot is free. */
  vacate(session: Session): void {
    if (this.isFilledBy(session)) this.#filledBy = undefined;
  }
}

/** The settings that one request asked for are no reason to refuse the requests that share its spawn. @throws any other error */
function noneIfSettingRefused(error: unknown): undefined {
  if (!(error instanceof RequestedSettingRefused)) throw error;
}

function attachedTo(session: Session): ObtainedSession {
  return { session, isAttached: true, isModelApplied: undefined };
}
