// Whether the daemon takes new work. Once closed it stays closed: the process is about to end.
import { fail } from './contract/errors.ts';

export class Doors {
  #isOpen = true;

  get isOpen(): boolean {
    return this.#isOpen;
  }

  close(): void {
    this.#isOpen = false;
  }

  /** @throws ApiError 503 `daemon_draining` once closed. */
  check(): void {
    if (!this.#isOpen) throw fail('daemon_draining', 'The daemon is stopping');
  }
}
