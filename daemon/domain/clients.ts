// The clients registered on one session: minted ids, reference counts, last-seen times. Entries live only as long as
// their registration, so churn leaks nothing.
import type { FeedClient } from '../contract/feed.ts';

interface Entry {
  count: number;
  lastSeenAtMs: number;
}

export class ClientRegistry {
  readonly #entries = new Map<string, Entry>();
  #hasRegistered = false;

  /** Number of distinct registered ids. */
  get size(): number {
    return this.#entries.size;
  }

  /** Whether a client was ever registered, adopted ones not counted. */
  get hasRegistered(): boolean {
    return this.#hasRegistered;
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
    this.#hasRegistered = true;
    const known = offered === undefined ? undefined : this.#entries.get(offered);
    if (offered !== undefined && known !== undefined) {
      known.count += 1;
      known.lastSeenAtMs = nowMs;
      return offered;
    }
    this.#entries.set(minted, { count: 1, lastSeenAtMs: nowMs });
    return minted;
  }

  /** Takes over registrations that an earlier process gave out; they go on under their ids. */
  adopt(clients: readonly FeedClient[]): void {
    for (const { clientId, count, lastSeenAtMs } of clients) {
      const known = this.#entries.get(clientId);
      this.#entries.set(clientId, { count: count + (known?.count ?? 0), lastSeenAtMs });
    }
  }

  /** Drops one reference, and the entry with the last one. @returns false for an unknown id. */
  unregister(clientId: string): boolean {
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
