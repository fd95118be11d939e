// The register of the daemon's open event streams: a release ends them, and a shutdown waits for their end.
import type { ServerResponse } from 'node:http';
import type { Clock } from '../contract/clock.ts';
import type { EventStream } from './event-stream.ts';

export class Streams {
  readonly #open = new Map<EventStream, ServerResponse>();

  add(stream: EventStream, res: ServerResponse): void {
    this.#open.set(stream, res);
  }

  delete(stream: EventStream): void {
    this.#open.delete(stream);
  }

  /** Ends every open stream after its newest event. Resolves when all streams are written out, or after `withinMs`. */
  async endAll(clock: Clock, withinMs: number): Promise<void> {
    const closed = this.allEnded();
    for (const stream of [...this.#open.keys()]) stream.endAtHead();
    await Promise.race([closed, new Promise<void>((resolve) => clock.after(withinMs, resolve))]);
  }

  /** Resolves when every stream that is open at the time of the call has been written out and closed. Ends no stream itself. */
  async allEnded(): Promise<void> {
    const open = [...this.#open.values()].filter((res) => !res.closed && !res.writableFinished);
    await Promise.all(open.map((res) => new Promise((resolve) => res.once('close', resolve))));
  }
}
