// The last call to a daemon that is shut down cleanly: no new work, and every client's stream ends after its last event. Only
// then may its process be ended, or a turn's end could be cut off on the way to its client.
import { ApiError } from '../../../daemon/contract/errors.ts';
import type { Endpoint } from '../../upstream/endpoint.ts';
import type { SupervisorDeps } from './deps.ts';

/** How soon a daemon that was busy after all is asked again; the feed usually tells sooner. */
const ASK_AGAIN_MS = 100;

/** `unsure`: it did not answer, and may have let go all the same: its doors would be closed for good. */
type LettingGoState = 'held' | 'asking' | 'unsure' | 'released';

export class ReleaseCall {
  readonly #deps: Pick<SupervisorDeps, 'release' | 'endStreams' | 'clock' | 'log'>;
  readonly #endpoint: Endpoint;
  #state: LettingGoState = 'held';

  constructor(deps: Pick<SupervisorDeps, 'release' | 'endStreams' | 'clock' | 'log'>, endpoint: Endpoint) {
    this.#deps = deps;
    this.#endpoint = endpoint;
  }

  get state(): LettingGoState {
    return this.#state;
  }

  /**
   * Asks the daemon itself whether it is quiet, since what was heard of it may be old; calls `done` once it has let go, `busy`
   * when it has said that it has work, and `again` when it is to be asked once more because it did not answer. Does nothing
   * while it is being asked.
   */
  ifQuiet({ done, busy, again }: { done: () => void; busy: () => void; again: () => void }): void {
    if (this.#state === 'asking' || this.#state === 'released') return;
    this.#state = 'asking';
    void this.#ask(true).then((state) => {
      this.#state = state;
      if (state === 'released') done();
      else this.#deps.clock.after(ASK_AGAIN_MS, state === 'held' ? busy : again);
    });
  }

  /**
   * Lets go whatever runs; calls `done` unless the daemon ended meanwhile (`isThere`): its successor may have streams by then.
   * A daemon that cannot be asked has its streams ended here.
   */
  async now(isThere: () => boolean, done: () => void): Promise<void> {
    if (this.#state !== 'released') await this.#ask(false);
    this.#state = 'released';
    if (!isThere()) return;
    this.#deps.endStreams(this.#endpoint.workspaceId);
    done();
  }

  /** One that knows no such question (404, of another version) has nothing more to say. */
  async #ask(onlyIfQuiet: boolean): Promise<'held' | 'unsure' | 'released'> {
    try {
      return (await this.#deps.release(this.#endpoint, { onlyIfQuiet })) ? 'released' : 'held';
    } catch (error) {
      this.#deps.log.debug(
        { err: error, incarnation: this.#endpoint.incarnation },
        'daemon did not answer the release',
      );
      return error instanceof ApiError && error.status === 404 ? 'released' : 'unsure';
    }
  }
}
