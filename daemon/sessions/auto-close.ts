// Closes sessions without a request: because the last client has left, or because nothing has happened for long.
import type { Clock } from '../contract/clock.ts';
import type { Limits } from '../contract/limits.ts';
import type { Session } from '../session/session.ts';
import type { SessionEndings } from './endings.ts';
import type { SessionRegister } from './register.ts';

export interface AutoCloseDeps {
  readonly register: Pick<SessionRegister, 'all'>;
  readonly endings: Pick<SessionEndings, 'close'>;
  readonly clock: Clock;
  readonly limits: Pick<Limits, 'sessionIdleTimeoutMs' | 'sessionPromptSettledCloseGraceMs'>;
}

export class AutoClose {
  readonly #deps: AutoCloseDeps;

  constructor(deps: AutoCloseDeps) {
    this.#deps = deps;
  }

  /** Closes the session if it is not in use: no client, reader, turn, question or background work. */
  ifUnused(session: Session): void {
    // A session that was restored for the coordinator lives until a client has attached to it and left again.
    if (!session.hasEnded && !session.isInUse && session.clients.hasRegistered)
      this.#deps.endings.close(session, 'last_client_detached');
  }

  /** To be called when a turn or background work has ended: does as `ifUnused`, after a grace for the client's next prompt. */
  afterWork(session: Session): void {
    const { clock, limits } = this.#deps;
    const graceMs = limits.sessionPromptSettledCloseGraceMs;
    if (graceMs === 0) this.ifUnused(session);
    else clock.after(graceMs, () => this.ifUnused(session));
  }

  /**
   * Closes every session that no event stream reads, that has no work, and that showed no activity for `sessionIdleTimeoutMs`.
   */
  closeIdle(): void {
    const { register, limits, clock, endings } = this.#deps;
    if (limits.sessionIdleTimeoutMs === 0) return;
    for (const session of register.all()) {
      const idleMs = clock.nowMs() - session.lastActivityAtMs;
      if (!session.isBusy && idleMs >= limits.sessionIdleTimeoutMs) endings.close(session, 'idle_timeout');
    }
  }
}
