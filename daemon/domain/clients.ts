// The clients registered on one session: minted ids, reference counts, last-seen times. A client's entry is deleted with
// its last registration, so that clients that come and go leave nothing in memory.
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

  /** Whether `register` was ever called; clients that `adopt` took over from an earlier daemon do not count. */
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
   * Registers a client: an `offered` id that is known gains a reference, any other is replaced by `minted`.
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

  /** Adds the registrations that a restored session had in its earlier daemon; the clients keep their ids. */
  adopt(clients: readonly FeedClient[]): void {
    for (const { clientId, count, lastSeenAtMs } of clients) {
      const known = this.#entries.get(clientId);
      this.#entries.set(clientId, { count: count + (known?.count ?? 0), lastSeenAtMs });
    }
  }

  /** Drops one reference to the id, and the registration with the last reference. @returns false for an unknown id. */
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

  /** A copy of the registrations, in the form in which the feed reports them. */
  snapshot(): readonly FeedClient[] {
    return [...this.#entries].map(([clientId, { count, lastSeenAtMs }]) => ({
      clientId,
      count,
      lastSeenAtMs,
    }));
  }
}
