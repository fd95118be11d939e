// The deaths of one workspace's daemons: how they count, what follows the last, and what requests are told of it.
import type { Event, State } from '../../domain/daemon-state.ts';
import { type Death, judgeDeath, type RestartVerdict, retryAfterOf } from '../../domain/restart-policy.ts';
import type { DaemonView, WorkspaceKey } from '../fleet.ts';
import { lastExitOf } from '../records/last-exit.ts';
import * as refusals from '../refusals.ts';
import { type Next, nextAfter } from './daemon-end.ts';
import type { SupervisorDeps } from './deps.ts';

type DeathsDeps = Pick<SupervisorDeps, 'store' | 'clock' | 'settings' | 'random'>;

export class Deaths {
  readonly #workspace: WorkspaceKey;
  readonly #deps: DeathsDeps;
  /** Monotonic times of those that count. */
  #history: readonly number[] = [];
  /** What the last one led to. */
  #verdict: RestartVerdict = { kind: 'clean' };
  lastExit: DaemonView['lastExit'];

  constructor(workspace: WorkspaceKey, deps: DeathsDeps) {
    this.#workspace = workspace;
    this.#deps = deps;
    this.lastExit = lastExitOf(deps.store, workspace.id);
  }

  /** Counts one, and says what follows; it is in force once the state table has taken it (`follow`). */
  judge(death: Death): RestartVerdict {
    const { clock, settings, random } = this.#deps;
    const judgement = judgeDeath(death, {
      history: this.#history,
      nowMs: clock.monotonicMs(),
      policy: settings.restart,
      random: random(),
    });
    this.#history = judgement.history;
    return judgement.verdict;
  }

  follow(verdict: RestartVerdict): void {
    this.#verdict = verdict;
  }

  /** They count no more; the last one can still be told. */
  forget(): void {
    this.#history = [];
    this.#verdict = { kind: 'clean' };
  }

  get retryAfterMs(): number {
    return retryAfterOf(this.#verdict, this.#deps.clock.monotonicMs());
  }

  /** Why no start is tried in `state`; undefined when one may be. */
  coolOffRefusal(state: State): Error | undefined {
    const leftMs = this.retryAfterMs;
    if (state !== 'failed' || leftMs <= 0) return undefined;
    const { periodMs } = this.#deps.settings.restart;
    return refusals.failed(this.#workspace, {
      deaths: this.#history.length,
      periodMs,
      lastReason: this.lastExit?.reason,
      leftMs,
    });
  }

  refusalAfter(event: Event): Error {
    return refusals.refusalAfter(event, this.#workspace, this.retryAfterMs, this.lastExit);
  }

  nextAfter(state: State | undefined, verdict: RestartVerdict): Next {
    const { clock, settings } = this.#deps;
    return nextAfter(state, verdict, clock.monotonicMs(), settings.restart, this.#history.length);
  }
}
