// Parks requests until a daemon is ready. Each request leaves once: daemon ready, start refused, deadline over, or client gone.
import type { Clock, Timer } from '../../../daemon/contract/clock.ts';
import type { Endpoint } from '../../upstream/endpoint.ts';
import type { WorkspaceKey } from '../fleet.ts';
import { startTimedOut, tooManyWaiters } from '../refusals.ts';

export interface WaiterLimits {
  readonly waiterDeadlineMs: number;
  readonly maxWaiters: number;
}

interface Waiter {
  readonly resolve: (endpoint: Endpoint) => void;
  readonly reject: (reason: unknown) => void;
  readonly signal: AbortSignal;
  readonly onAbort: () => void;
  readonly deadline: Timer;
}

export class Waiters {
  readonly #parked = new Set<Waiter>();
  readonly #workspace: WorkspaceKey;
  readonly #clock: Clock;
  readonly #limits: WaiterLimits;
  readonly #lastGone: () => void;

  /** @param lastGone called when the last parked request ends by deadline or abort, not by `wake` or `failAll`. */
  constructor(workspace: WorkspaceKey, clock: Clock, limits: WaiterLimits, lastGone: () => void) {
    this.#workspace = workspace;
    this.#clock = clock;
    this.#limits = limits;
    this.#lastGone = lastGone;
  }

  get size(): number {
    return this.#parked.size;
  }

  /**
   * Parks a request until `wake` or `failAll`. Rejects with the signal's reason when `signal` aborts, with ApiError 504
   * `init_timeout` after `waiterDeadlineMs`.
   * @throws ApiError 503 when `maxWaiters` requests are parked; the signal's reason when it is aborted already.
   */
  park(signal: AbortSignal): Promise<Endpoint> {
    signal.throwIfAborted();
    if (this.#parked.size >= this.#limits.maxWaiters)
      throw tooManyWaiters(this.#workspace, this.#limits.maxWaiters);
    return new Promise((resolve, reject) => {
      const { waiterDeadlineMs } = this.#limits;
      const deadline = this.#clock.after(waiterDeadlineMs, () =>
        this.#leave(waiter, startTimedOut(this.#workspace, waiterDeadlineMs)),
      );
      const onAbort = () => this.#leave(waiter, signal.reason);
      const waiter: Waiter = { resolve, reject, signal, onAbort, deadline };
      signal.addEventListener('abort', onAbort, { once: true });
      this.#parked.add(waiter);
    });
  }

  wake(endpoint: Endpoint): void {
    for (const waiter of this.#taken()) waiter.resolve(endpoint);
  }

  failAll(error: unknown): void {
    for (const waiter of this.#taken()) waiter.reject(error);
  }

  #leave(waiter: Waiter, reason: unknown): void {
    this.#free(waiter);
    waiter.reject(reason);
    if (this.#parked.size === 0) this.#lastGone();
  }

  #taken(): readonly Waiter[] {
    const taken = [...this.#parked];
    for (const waiter of taken) this.#free(waiter);
    return taken;
  }

  #free(waiter: Waiter): void {
    this.#parked.delete(waiter);
    waiter.deadline.cancel();
    waiter.signal.removeEventListener('abort', waiter.onAbort);
  }
}
