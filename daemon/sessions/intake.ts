// Whether the daemon takes new work. It may hold it back for a while; once closed it stays closed: the process is about to end.
import { type ApiError, fail } from '../contract/errors.ts';

export class Intake {
  #state: 'open' | 'held' | 'closed' = 'open';

  /** The daemon is about to end, whatever comes. */
  get areClosed(): boolean {
    return this.#state === 'closed';
  }

  /** Lets what has begun come to its end, and nothing new begin. */
  hold(): void {
    if (this.#state === 'open') this.#state = 'held';
  }

  /** Ends a hold. Nothing once closed. */
  reopen(): void {
    if (this.#state === 'held') this.#state = 'open';
  }

  close(): void {
    this.#state = 'closed';
  }

  /** For what is about to begin. @throws ApiError 503 `daemon_draining` unless open. */
  check(): void {
    if (this.#state !== 'open') throw stopping();
  }

  /** For what has begun before. @throws ApiError 503 `daemon_draining` once closed. */
  checkNotClosed(): void {
    if (this.areClosed) throw stopping();
  }
}

function stopping(): ApiError {
  return fail('daemon_draining', 'The daemon is stopping');
}
