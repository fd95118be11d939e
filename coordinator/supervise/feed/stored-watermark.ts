// How far a daemon's feed is in the store, and which answers wait for a record of it: the head of such an answer goes out when
// its record is stored.
import type { Clock, Timer } from '../../../daemon/contract/clock.ts';
import { isDamageRefusal } from '../../store/storage-refusal.ts';

/** An answer that waits for its record. */
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
  /** Number of the last record that is stored. */
  #storedSeq = -1;
  /** The record whose write failed. No later record counts as stored until a snapshot has made up for it. */
  #failed: { readonly seq: number; readonly error: unknown } | undefined;
  /** The database is damaged: nothing can be stored before the next start of the coordinator, which rebuilds it from the feeds. */
  #isDamaged = false;

  constructor(clock: Clock, waitMs: number) {
    this.#clock = clock;
    this.#waitMs = waitMs;
  }

  /** The record `seq` and all records before it are in the store. */
  stored(seq: number): void {
    this.#storedSeq = seq;
    this.#failed = undefined;
    this.#isDamaged = false;
    for (const waiter of this.#waiters) if (waiter.seq <= seq) this.#take(waiter).resolve(true);
  }

  /**
   * Why the store refused the last record; undefined once it has taken one, and while the database is damaged: work goes on
   * without a damaged database.
   */
  get refusal(): unknown {
    return this.#failed?.error;
  }

  /** The store refused the record `seq`. */
  failed(seq: number, error: unknown): void {
    this.#isDamaged = isDamageRefusal(error);
    if (this.#isDamaged) {
      this.close();
      return;
    }
    this.#failed = { seq, error };
    // A snapshot would have brought all records up to its own number, so all of them have failed with it.
    for (const waiter of this.#waiters) if (waiter.seq <= seq) this.#take(waiter).reject(error);
  }

  /**
   * Waits for the record `seq`: true once it is stored, false when that takes too long or the database is damaged.
   * Rejects with the store's refusal.
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

  /** No record will come for now: every wait resolves false. */
  close(): void {
    for (const waiter of this.#waiters) this.#take(waiter).resolve(false);
  }

  /** Takes the waiter out, for the caller to settle. */
  #take(waiter: Waiter): Waiter {
    this.#waiters.delete(waiter);
    waiter.deadline.cancel();
    return waiter;
  }
}
