// Sessions that end without anybody closing them: because the last client has left, or nothing has happened for long.
import type { Clock } from '../contract/clock.ts';
import type { Limits } from '../contract/limits.ts';
import type { Session } from '../session/session.ts';

export interface AutoCloseOptions {
  /** The live ones. */
  readonly sessions: () => readonly Session[];
  readonly clock: Clock;
  readonly limits: Pick<Limits, 'sessionIdleTimeoutMs' | 'sessionPromptSettledCloseGraceMs'>;
  readonly close: (session: Session, reason: 'last_client_detached' | 'idle_timeout') => void;
}

export class AutoClose {
  readonly #o: AutoCloseOptions;

  constructor(options: AutoCloseOptions) {
    this.#o = options;
  }

  /** Closes when nobody is registered and nothing holds the session. */
  ifUnused(session: Session): void {
    // One that the coordinator brought back lives until a client has come for it and gone again.
    if (!session.hasEnded && !session.isInUse && session.clients.hasRegistered)
      this.#o.close(session, 'last_client_detached');
  }

  /** A turn or other work has ended: the same, but the next prompt is given some time. */
  afterWork(session: Session): void {
    const { clock, limits } = this.#o;
    const graceMs = limits.sessionPromptSettledCloseGraceMs;
    if (graceMs === 0) this.ifUnused(session);
    else clock.after(graceMs, () => this.ifUnused(session));
  }

  /** Closes every session without readers, work and signs of life for the configured time. */
  closeIdle(): void {
    const { sessions, limits, clock, close } = this.#o;
    if (limits.sessionIdleTimeoutMs === 0) return;
    for (const session of sessions()) {
      const idleMs = clock.nowMs() - session.lastActivityAtMs;
      if (!session.isBusy && idleMs >= limits.sessionIdleTimeoutMs) close(session, 'idle_timeout');
    }
  }
}
