// The clients registered on one session: minted ids, reference counts, last-seen times. Entries live only as long as
// their registration, so churn leaks nothing.
import type { FeedClient } from '../contract/feed.ts';

interface Entry {
  count: number;
  lastSeenAtMs: number;
}

export class ClientRegistry {
  readonly #entries = new Map<string, Entry>();

  /** Number of distinct registered ids. */
  get size(): number {
    return this.#entries.size;
  }

  has(clientId: string): boolean {
    return this.#entries.has(clientId);
  }

  ids(): string[] {
    return [...this.#entries.keys()];
  }

  /**
   * Registers one more holder: a known `offered` id gains a reference, anything else is replaced by `minted`.
   * @returns the id that the client must use.
   */
  register(offered: string | undefined, minted: string, nowMs: number): string {
    const known = offered === undefined ? undefined : this.#entries.get(offered);
    if (offered !== undefined && known !== undefined) {
      known.count += 1;
      known.lastSeenAtMs = nowMs;
      return offered;
    }
    this.#entries.set(minted, { count: 1, lastSeenAtMs: nowMs });
    return minted;
  }

  /** Drops one reference, and the entry with the last one. @returns false for an unknown id. */
  release(clientId: string): boolean {
    const entry = this.#entries.get(clientId);
    if (entry === undefined) return false;
    entry.count -= 1;
    if (entry.count === 0) this.#entries.delete(clientId);
    return true;
  }

  /** Moves a registered client's last-seen time forward; unknown ids change nothing. */
  touch(clientId: string, nowMs: number): void {
    const entry = this.#entries.get(clientId);
    if (entry !== undefined) entry.lastSeenAtMs = Math.max(entry.lastSeenAtMs, nowMs);
  }

  /** A copy: changing it changes nothing here. */
  snapshot(): readonly FeedClient[] {
    return [...this.#entries].map(([clientId, { count, lastSeenAtMs }]) => ({
      clientId,
      count,
      lastSeenAtMs,
    }));
  }
}
