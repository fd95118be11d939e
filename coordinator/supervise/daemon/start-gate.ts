// Limits how many daemons may be starting at once. Further starts wait for their turn in order; a start that is no longer wanted
// when its turn comes passes the turn to the next start.

export class StartGate {
  readonly #max: number;
  readonly #inside = new Set<string>();
  readonly #waiting = new Map<string, () => boolean>();

  /** @param max number of starts at once; values below 1 count as 1. */
  constructor(max: number) {
    this.#max = Math.max(1, max);
  }

  /**
   * Calls `begin` as soon as fewer than `max` daemons are starting. `begin` returns whether a start has begun; if not, the turn
   * passes to the next key. Does nothing when `key` waits or is starting already. `begin` must not throw, because `leave` for
   * another key may call it.
   */
  enter(key: string, begin: () => boolean): void {
    if (this.#inside.has(key) || this.#waiting.has(key)) return;
    this.#waiting.set(key, begin);
    this.#admit();
  }

  /** Ends the turn of `key`, whose start is over, successful or not. The next start may begin. */
  leave(key: string): void {
    if (this.#inside.delete(key)) this.#admit();
  }

  #admit(): void {
    for (const [key, begin] of this.#waiting) {
      if (this.#inside.size >= this.#max) return;
      this.#waiting.delete(key);
      this.#inside.add(key);
      if (!begin()) this.#inside.delete(key);
    }
  }
}
