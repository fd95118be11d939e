// Which feed records are in the store, and who waits for one. An answer's head is held on this.
import type { Clock, Timer } from '../../../daemon/contract/clock.ts';
import { isDamageRefusal } from '../../store/storage-refusal.ts';

interface Held {
  readonly seq: number;
  readonly resolve: (isStored: boolean) => void;
  readonly reject: (error: unknown) => void;
  readonly deadline: Timer;
}

export class StoredWatermark {
  readonly #clock: Clock;
  readonly #waitMs: number;
  readonly #held = new Set<Held>();
  #storedSeq = -1;
  /** The record whose write failed. Nothing after it counts as stored until a snapshot has made it good. */
  #failed: { readonly seq: number; readonly error: unknown } | undefined;

  /** Nothing can be stored before the next start of the coordinator, which rebuilds the database from the feeds. */
  #isDamaged = false;

  constructor(clock: Clock, waitMs: number) {
    this.#clock = clock;
    this.#waitMs = waitMs;
  }

  /** The record `seq` and everything before it is in the store. */
  stored(seq: number): void {
    this.#storedSeq = seq;
    this.#failed = undefined;
    this.#isDamaged = false;
    for (const held of this.#held) if (held.seq <= seq) this.#take(held).resolve(true);
  }

  /** Why the store took nothing when it was last tried; undefined once it has, and where it is damaged: work goes on without it. */
  get refusal(): unknown {
    return this.#failed?.error;
  }

  failed(seq: number, error: unknown): void {
    this.#isDamaged = isDamageRefusal(error);
    if (this.#isDamaged) {
      this.close();
      return;
    }
    this.#failed = { seq, error };
    // A snapshot's failure is that of everything which it would have brought.
    for (const held of this.#held) if (held.seq <= seq) this.#take(held).reject(error);
  }

  /** True once `seq` is stored, false when that takes longer than the wait or the store is damaged; rejects when it refuses. */
  wait(seq: number): Promise<boolean> {
    if (seq <= this.#storedSeq) return Promise.resolve(true);
    if (this.#isDamaged) return Promise.resolve(false);
    if (this.#failed?.seq === seq) return Promise.reject(this.#failed.error);
    return new Promise((resolve, reject) => {
      const deadline = this.#clock.after(this.#waitMs, () => {
        this.#take(held);
        if (this.#failed === undefined) resolve(false);
        else reject(this.#failed.error);
      });
      const held: Held = { seq, resolve, reject, deadline };
      this.#held.add(held);
    });
  }

  /** Nothing more will come for now: everybody who waits hears false. */
  close(): void {
    for (const held of this.#held) this.#take(held).resolve(false);
  }

  #take(held: Held): Held {
    this.#held.delete(held);
    held.deadline.cancel();
    return held;
  }
}
