// The event streams that are open to clients, so that they can be ended cleanly before the daemon that fills them ends. Made before
// the forwarder, which adds the streams, and before the supervisor, which has them ended.
import type { Log } from '../../daemon/contract/log.ts';
import type { OpenStream } from './relay.ts';

export class EventStreams {
  readonly #log: Log;
  /** Each open stream with the id of its workspace. */
  readonly #open = new Map<OpenStream, string>();

  constructor(log: Log) {
    this.#log = log;
  }

  add(stream: OpenStream, workspaceId: string): void {
    this.#open.set(stream, workspaceId);
  }

  /** The stream has ended. */
  remove(stream: OpenStream): void {
    this.#open.delete(stream);
  }

  /**
   * Ends the open streams, of one workspace where it is given, cleanly and at a frame boundary.
   * @returns how many streams there were.
   */
  endAll(reason: string, workspaceId?: string): number {
    const ending = [...this.#open].filter(([, owner]) => workspaceId === undefined || owner === workspaceId);
    for (const [stream] of ending) stream.endPlainly();
    if (ending.length > 0) this.#log.info({ streams: ending.length, reason }, 'event streams ended');
    return ending.length;
  }
}
