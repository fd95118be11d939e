// Ends an agent child that has been unused for an idle time. The sessions and the requests about sessions that are not live share
// one instance: with a timer each, the timer of the one could end a child that the other has just started.

import type { Clock, Timer } from '../contract/clock.ts';
import type { AgentHost } from './agent.ts';

export interface IdleRetirementDeps {
  readonly agent: Pick<AgentHost, 'current' | 'retire'>;
  readonly clock: Clock;
  /** How long a child is kept after its last session, in ms. */
  readonly idleMs: number;
  /** Whether no session uses the child. Called when the idle time would begin, and again when it is over. */
  readonly isUnused: () => boolean;
}

export class IdleRetirement {
  readonly #deps: IdleRetirementDeps;
  #timer: Timer | undefined;

  constructor(deps: IdleRetirementDeps) {
    this.#deps = deps;
  }

  /**
   * To be called when a session on the child, or the opening of a session, has ended, and when a request about a session that is
   * not live has started the child: if no session uses the child, starts the idle time from zero.
   * @param idleMs how long the child is kept from now on.
   */
  begin(idleMs = this.#deps.idleMs): void {
    this.#timer?.cancel();
    const { clock, isUnused } = this.#deps;
    if (isUnused()) this.#timer = clock.after(idleMs, () => this.#retire());
  }

  /** Stops the idle time, because the child is used again or the daemon ends. */
  cancel(): void {
    this.#timer?.cancel();
  }

  #retire(): void {
    const { agent, isUnused } = this.#deps;
    const channel = agent.current();
    if (isUnused() && channel !== undefined) void agent.retire(channel);
  }
}
