// Events of a session that the agent sends before it has answered `session/new`: kept briefly, then handed to the session.

export interface EarlyBounds {
  readonly maxSessions: number;
  readonly maxEventsPerSession: number;
  readonly maxAgeMs: number;
}

/** The bounds that the protocol sets. */
export const EARLY_BOUNDS: EarlyBounds = { maxSessions: 64, maxEventsPerSession: 32, maxAgeMs: 60_000 };

export class EarlyEvents<Event> {
  readonly #bounds: EarlyBounds;
  readonly #bySession = new Map<string, { readonly sinceMs: number; readonly events: Event[] }>();

  constructor(bounds: EarlyBounds = EARLY_BOUNDS) {
    this.#bounds = bounds;
  }

  /** Keeps the event until `take`. @returns false when the event is dropped because a bound is reached. */
  keep(sessionId: string, event: Event, nowMs: number): boolean {
    this.#dropOld(nowMs);
    let kept = this.#bySession.get(sessionId);
    if (kept === undefined) {
      if (this.#bySession.size >= this.#bounds.maxSessions) return false;
      kept = { sinceMs: nowMs, events: [] };
      this.#bySession.set(sessionId, kept);
    }
    if (kept.events.length >= this.#bounds.maxEventsPerSession) return false;
    kept.events.push(event);
    return true;
  }

  /** Removes and returns the kept events of a session, in order. */
  take(sessionId: string): readonly Event[] {
    const events = this.#bySession.get(sessionId)?.events ?? [];
    this.#bySession.delete(sessionId);
    return events;
  }

  #dropOld(nowMs: number): void {
    for (const [sessionId, { sinceMs }] of this.#bySession) {
      if (nowMs - sinceMs <= this.#bounds.maxAgeMs) return;
      this.#bySession.delete(sessionId);
    }
  }
}
