// The daemon's switch for new work. The intake can be paused for a while; once closed it stays closed, because the process is
// about to end.
import { type ApiError, fail } from '../contract/errors.ts';

export class Intake {
  #state: 'open' | 'paused' | 'closed' = 'open';

  /** True once `close` was called: the daemon is about to end. */
  get isClosed(): boolean {
    return this.#state === 'closed';
  }

  /** Refuses new work until `resume`; work that has begun comes to its end. */
  pause(): void {
    if (this.#state === 'open') this.#state = 'paused';
  }

  /** Ends a pause. A closed intake stays closed. */
  resume(): void {
    if (this.#state === 'paused') this.#state = 'open';
  }

  close(): void {
    this.#state = 'closed';
  }

  /** To be called before new work begins. @throws ApiError 503 `daemon_draining` unless the intake is open. */
  check(): void {
    if (this.#state !== 'open') throw stopping();
  }

  /**
   * To be called before the next step of work that has begun.
   * @throws ApiError 503 `daemon_draining` once the intake is closed.
   */
  checkNotClosed(): void {
    if (this.isClosed) throw stopping();
  }
}

function stopping(): ApiError {
  return fail('daemon_draining', 'The daemon is stopping');
}
