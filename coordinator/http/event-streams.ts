// The register of the event streams that are open to clients, so that a workspace's streams can be ended cleanly before its
// daemon ends. Made before the forwarder, which adds streams, and before the supervisor, which ends them.
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

  /** Takes a stream that has ended out of the register. Idempotent. */
  remove(stream: OpenStream): void {
    this.#open.delete(stream);
  }

  /**
   * Ends the open streams of the workspace, or of every workspace when none is given, each at a frame boundary.
   * @param reason for the log.
   * @returns how many streams were ended.
   */
  endAll(reason: string, workspaceId?: string): number {
    const ending = [...this.#open].filter(([, owner]) => workspaceId === undefined || owner === workspaceId);
    for (const [stream] of ending) stream.endPlainly();
    if (ending.length > 0) this.#log.info({ streams: ending.length, reason }, 'event streams ended');
    return ending.length;
  }
}
