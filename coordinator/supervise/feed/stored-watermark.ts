// Knows up to which record a daemon's feed is in the store, and lets answers to clients wait for a record: an answer names a feed
// record, and is sent when that record is stored.
import type { Clock, Timer } from '../../../daemon/contract/clock.ts';
import { isDamageRefusal } from '../../store/storage-refusal.ts';

/** An answer to a client that waits until the feed record `seq` is stored. */
interface Waiter {
  readonly seq: number;
  readonly resolve: (isStored: boolean) => void;
  readonly reject: (error: unknown) => void;
  readonly deadline: Timer;
}

export class StoredWatermark {
  readonly #clock: Clock;
  readonly #waitMs: number;
  readonly #waiters = new Set<Waiter>();
  /** Number of the last feed record that is stored. */
  #storedSeq = -1;
  /** The feed record that the store refused; undefined once a later record, a snapshot, is stored. */
  #failed: { readonly seq: number; readonly error: unknown } | undefined;
  /** Whether the database is damaged: nothing can be stored until the next start of the coordinator, which rebuilds it. */
  #isDamaged = false;

  constructor(clock: Clock, waitMs: number) {
    this.#clock = clock;
    this.#waitMs = waitMs;
  }

  /** Resolves the waits for `seq` and all records before it: they are in the store. */
  stored(seq: number): void {
    this.#storedSeq = seq;
    this.#failed = undefined;
    this.#isDamaged = false;
    for (const waiter of this.#waiters) if (waiter.seq <= seq) this.#take(waiter).resolve(true);
  }

  /**
   * The error with which the store refused the last record; undefined when it took the last record, and while the database is
   * damaged, because then work goes on without the database.
   */
  get refusal(): unknown {
    return this.#failed?.error;
  }

  /** Rejects the waits for `seq` and all records before it, because the store refused `seq`. */
  failed(seq: number, error: unknown): void {
    this.#isDamaged = isDamageRefusal(error);
    if (this.#isDamaged) {
      this.close();
      return;
    }
    this.#failed = { seq, error };
    // If `seq` is a snapshot, it stands for all records before it, so they have failed too.
    for (const waiter of this.#waiters) if (waiter.seq <= seq) this.#take(waiter).reject(error);
  }

  /**
   * Waits until the feed record `seq` is stored: true then, false after `waitMs` or when the database is damaged.
   * Rejects with the store's error when the store refuses a record meanwhile.
   */
  wait(seq: number): Promise<boolean> {
    if (seq <= this.#storedSeq) return Promise.resolve(true);
    if (this.#isDamaged) return Promise.resolve(false);
    if (this.#failed?.seq === seq) return Promise.reject(this.#failed.error);
    return new Promise((resolve, reject) => {
      const deadline = this.#clock.after(this.#waitMs, () => {
        this.#take(waiter);
        if (this.#failed === undefined) resolve(false);
        else reject(this.#failed.error);
      });
      const waiter: Waiter = { seq, resolve, reject, deadline };
      this.#waiters.add(waiter);
    });
  }

  /** Resolves every wait with false: the feed is closed or the database damaged, so no record will be stored. */
  close(): void {
    for (const waiter of this.#waiters) this.#take(waiter).resolve(false);
  }

  /** Removes the waiter and returns it, for the caller to settle. */
  #take(waiter: Waiter): Waiter {
    this.#waiters.delete(waiter);
    waiter.deadline.cancel();
    return waiter;
  }
}
