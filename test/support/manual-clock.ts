// A clock that moves only when a test says so.
import type { Clock, Timer } from '../../daemon/contract/clock.ts';

interface Entry {
  dueMs: number;
  readonly periodMs: number | undefined;
  readonly run: () => void;
}

export class ManualClock implements Clock {
  readonly #epochMs: number;
  #elapsedMs = 0;
  readonly #entries = new Set<Entry>();

  constructor(epochMs = 1_700_000_000_000) {
    this.#epochMs = epochMs;
  }

  nowMs(): number {
    return this.#epochMs + this.#elapsedMs;
  }

  monotonicMs(): number {
    return this.#elapsedMs;
  }

  after(delayMs: number, run: () => void): Timer {
    return this.#add({ dueMs: this.#elapsedMs + Math.max(0, delayMs), periodMs: undefined, run });
  }

  every(periodMs: number, run: () => void): Timer {
    return this.#add({ dueMs: this.#elapsedMs + periodMs, periodMs, run });
  }

  /** Timers that are set. */
  get pending(): number {
    return this.#entries.size;
  }

  /** Moves on, running what comes due in its order; timers set on the way run too when they fall into the span. */
  advance(byMs: number): void {
    const untilMs = this.#elapsedMs + byMs;
    for (let next = this.#next(untilMs); next !== undefined; next = this.#next(untilMs)) {
      this.#elapsedMs = Math.max(this.#elapsedMs, next.dueMs);
      if (next.periodMs === undefined) this.#entries.delete(next);
      else next.dueMs += next.periodMs;
      next.run();
    }
    this.#elapsedMs = untilMs;
  }

  #next(untilMs: number): Entry | undefined {
    let first: Entry | undefined;
    for (const entry of this.#entries)
      if (entry.dueMs <= untilMs && (first === undefined || entry.dueMs < first.dueMs)) first = entry;
    return first;
  }

  #add(entry: Entry): Timer {
    this.#entries.add(entry);
    return { cancel: () => void this.#entries.delete(entry) };
  }
}

/** Lets everything run that waits for no timer: promises, and callbacks of finished I/O. */
export async function settled(): Promise<void> {
  for (let turn = 0; turn < 4; turn += 1) await new Promise((resolve) => setImmediate(resolve));
}

/** Moves the clock on in steps and lets the work that each has started finish, as it would in real time. */
export async function pass(clock: ManualClock, byMs: number, stepMs = 1000): Promise<void> {
  for (let leftMs = byMs; leftMs > 0; leftMs -= stepMs) {
    clock.advance(Math.min(stepMs, leftMs));
    await settled();
  }
}
