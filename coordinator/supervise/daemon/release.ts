// The last call to a daemon that is shut down cleanly: no new work, and every client's stream ends after its last event. Only
// then may its process be ended, or a turn's end could be cut off on the way to its client.
import type { Clock } from '../../../daemon/contract/clock.ts';
import { ApiError } from '../../../daemon/contract/errors.ts';
import type { Log } from '../../../daemon/contract/log.ts';
import type { Endpoint } from '../../upstream/endpoint.ts';
import type { DaemonLink } from './link.ts';

/** How soon a daemon that was busy after all is asked again; its feed usually reports the end of its work sooner. */
const ASK_AGAIN_MS = 100;

/** `unsure`: the daemon did not answer, and may have released all the same: it would take no work ever again. */
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
   * Asks the daemon itself whether it is quiet, since the last word of its feed may be old; calls `done` once the daemon has
   * released, `busy` when it has said that it has work, and `again` when it has to be asked once more because it did not
   * answer. Does nothing while the daemon is being asked.
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
   * Releases whatever runs; calls `done` unless the daemon ended meanwhile (`isThere`): its successor may have streams by then.
   * The streams of a daemon that cannot be asked are ended here.
   */
  async now(isThere: () => boolean, done: () => void): Promise<void> {
    if (this.#state !== 'released') await this.#ask(false);
    this.#state = 'released';
    if (!isThere()) return;
    this.#deps.link.endStreams(this.#endpoint.workspaceId);
    done();
  }

  /** A daemon of another version may not know this request (404): it counts as released. */
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
