// How many daemons may be starting at once. Later starts wait their turn in order; a start that is no longer wanted when its
// turn comes leaves the turn to the next one.

export class StartGate {
  readonly #max: number;
  readonly #inside = new Set<string>();
  readonly #waiting = new Map<string, () => boolean>();

  /** `max` at least 1. */
  constructor(max: number) {
    this.#max = Math.max(1, max);
  }

  /**
   * Runs `begin` now, or when fewer than the limit are starting. `begin` returns whether a start has begun; if not, the turn goes
   * to the next key. A key that waits or is starting already changes nothing. `begin` must not throw: the end of another key's
   * start may call it.
   */
  enter(key: string, begin: () => boolean): void {
    if (this.#inside.has(key) || this.#waiting.has(key)) return;
    this.#waiting.set(key, begin);
    this.#admit();
  }

  /** The start of `key` is over, however it went. */
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
