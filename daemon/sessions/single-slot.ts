// The single slot of the workspace: the session that every `single` request shares, and the one spawn or restore that is
// on its way into it.

import { RequestedSettingRefused } from '../session/requested-settings.ts';
import type { Session } from '../session/session.ts';
import type { Obtained, SpawnedSession } from './create.ts';

export class SingleSlot {
  readonly #live: (id: string) => Session | undefined;
  #filledBy: string | undefined;
  /** Undefined from a restore that failed, or a session that only its maker's wishes kept from coming: then whoever waited for it spawns afresh. */
  #coming: Promise<Session | undefined> | undefined;

  /** @param live finds a live session by its id. */
  constructor(live: (id: string) => Session | undefined) {
    this.#live = live;
  }

  isFilledBy({ sessionId }: Session): boolean {
    return sessionId === this.#filledBy;
  }

  /**
   * The session that fills the slot, else the one on its way, else a new one. It may have ended meanwhile.
   * @throws whatever `spawn` throws; but a `WishRefused` only for the caller whose own spawn it was.
   */
  async obtain(spawn: () => Promise<SpawnedSession>): Promise<Obtained> {
    const live = this.#filledBy === undefined ? undefined : this.#live(this.#filledBy);
    if (live?.channel.isDying === false) return attachedTo(live);
    if (this.#coming !== undefined) {
      const session = await this.#coming;
      return session === undefined ? this.obtain(spawn) : attachedTo(session);
    }
    const spawning = spawn();
    this.#coming = spawning.then(({ session }) => session, noneIfUnwished);
    // The others that wait see the same rejection; this guard only keeps a lone one from being unhandled.
    this.#coming.catch(() => undefined);
    try {
      // Goes on before those who wait: one that is gone by then leaves again, which ends a session that nobody else holds.
      const spawned = await spawning;
      this.#fill(spawned.session);
      return { ...spawned, isAttached: false };
    } finally {
      this.#coming = undefined;
    }
  }

  /**
   * A session of the slot is being restored: requests wait for it. Nothing where the slot is filled or filling. Whoever asked
   * for the restore hears of its failure; nobody else has to.
   */
  reserve(coming: Promise<Session>): void {
    coming.catch(() => undefined);
    if (this.#filledBy !== undefined || this.#coming !== undefined) return;
    const held = coming.then(
      (session) => {
        this.#fill(session);
        return session;
      },
      () => undefined,
    );
    this.#coming = held;
    void held.finally(() => {
      if (this.#coming === held) this.#coming = undefined;
    });
  }

  /** One that ended before its maker came to know of it vacates nothing any more. */
  #fill(session: Session): void {
    if (!session.hasEnded) this.#filledBy = session.sessionId;
  }

  /** The session has ended: if it was the one of the slot, the slot is free. */
  vacate(session: Session): void {
    if (this.isFilledBy(session)) this.#filledBy = undefined;
  }
}

/** What one caller asked for besides is no reason to refuse the others. */
function noneIfUnwished(error: unknown): undefined {
  if (!(error instanceof RequestedSettingRefused)) throw error;
}

function attachedTo(session: Session): Obtained {
  return { session, isAttached: true, isModelApplied: undefined };
}
