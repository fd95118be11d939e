// Sends the release request to a daemon before its process is ended: the daemon takes no new work and ends every client's stream
// after its last event. Without it the end of a turn could be cut off on the way to its client.
import type { Clock } from '../../../daemon/contract/clock.ts';
import { ApiError } from '../../../daemon/contract/errors.ts';
import type { Log } from '../../../daemon/contract/log.ts';
import type { Endpoint } from '../../upstream/endpoint.ts';
import type { DaemonLink } from './link.ts';

/** Wait after a daemon said that it has work, or did not answer. Its feed usually reports the end of its work sooner. */
const ASK_AGAIN_MS = 100;

/** `unsure`: the daemon did not answer the release request, but may have released and then takes no work any more. */
type ReleaseState = 'working' | 'asking' | 'unsure' | 'released';

export interface ReleaseDeps {
  readonly link: Pick<DaemonLink, 'release' | 'endStreams'>;
  readonly clock: Clock;
  readonly log: Log;
}

export class ReleaseCall {
  readonly #deps: ReleaseDeps;
  readonly #endpoint: Endpoint;
  #state: ReleaseState = 'working';

  constructor(deps: ReleaseDeps, endpoint: Endpoint) {
    this.#deps = deps;
    this.#endpoint = endpoint;
  }

  get state(): ReleaseState {
    return this.#state;
  }

  /**
   * Asks the daemon to release if it is quiet, because the last record of its feed may be old. Calls `done` once it has released;
   * after `ASK_AGAIN_MS` `busy` when it has work, `again` when it did not answer. Does nothing while a request is under way.
   */
  ifQuiet({ done, busy, again }: { done: () => void; busy: () => void; again: () => void }): void {
    if (this.#state === 'asking' || this.#state === 'released') return;
    this.#state = 'asking';
    void this.#ask(true).then((state) => {
      this.#state = state;
      if (state === 'released') done();
      else this.#deps.clock.after(ASK_AGAIN_MS, state === 'working' ? busy : again);
    });
  }

  /**
   * Has the daemon release whatever runs, then ends the workspace's event streams that are left and calls `done`. Does not do the
   * latter two when the daemon ended meanwhile (`isThere` is false), because its successor may have streams by then.
   */
  async now(isThere: () => boolean, done: () => void): Promise<void> {
    if (this.#state !== 'released') await this.#ask(false);
    this.#state = 'released';
    if (!isThere()) return;
    this.#deps.link.endStreams(this.#endpoint.workspaceId);
    done();
  }

  /** Sends the release request. A daemon that does not know the request (404, another version) counts as released. */
  async #ask(onlyIfQuiet: boolean): Promise<'working' | 'unsure' | 'released'> {
    try {
      return (await this.#deps.link.release(this.#endpoint, { onlyIfQuiet })) ? 'released' : 'working';
    } catch (error) {
      this.#deps.log.debug(
        { err: error, incarnation: this.#endpoint.incarnation },
        'daemon did not answer the release',
      );
      return error instanceof ApiError && error.status === 404 ? 'released' : 'unsure';
    }
  }
}
