// Ends an agent child that is not used any more, after an idle time.

import type { Clock, Timer } from '../contract/clock.ts';
import type { AgentHost } from './agent.ts';

export interface IdleRetirementDeps {
  readonly agent: Pick<AgentHost, 'current' | 'retire'>;
  readonly clock: Clock;
  /** How long an unused child is kept. */
  readonly idleMs: number;
  /** Asked when the idle time begins, and again when it is over. */
  readonly isUnused: () => boolean;
}

export class IdleRetirement {
  readonly #deps: IdleRetirementDeps;
  #timer: Timer | undefined;

  constructor(deps: IdleRetirementDeps) {
    this.#deps = deps;
  }

  /** A use of the child has ended: if it was the last one, the idle time begins, anew if it was running. */
  begin(): void {
    this.#timer?.cancel();
    const { clock, idleMs, isUnused } = this.#deps;
    if (isUnused()) this.#timer = clock.after(idleMs, () => this.#retire());
  }

  /** The child is used again, or ends with the daemon. */
  cancel(): void {
    this.#timer?.cancel();
  }

  #retire(): void {
    const { agent, isUnused } = this.#deps;
    const channel = agent.current();
    if (isUnused() && channel !== undefined) void agent.retire(channel);
  }
}
