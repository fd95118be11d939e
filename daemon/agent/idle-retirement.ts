// Lets go of an agent child that nobody uses any more, after an idle time.

import type { Clock, Timer } from '../contract/clock.ts';
import type { AgentHost } from './agent.ts';

export interface IdleRetirementOptions {
  readonly agent: () => AgentHost;
  readonly clock: Clock;
  /** How long an unused child is kept. */
  readonly idleMs: number;
  /** Asked again when the time is over. */
  readonly isUnused: () => boolean;
}

export class IdleRetirement {
  readonly #o: IdleRetirementOptions;
  #timer: Timer | undefined;

  constructor(options: IdleRetirementOptions) {
    this.#o = options;
  }

  /** The last use has ended: the idle time begins, anew if it was running. */
  begin(): void {
    this.#timer?.cancel();
    const { clock, idleMs } = this.#o;
    this.#timer = clock.after(idleMs, () => this.#retire());
  }

  /** The child is used again, or ends with the daemon. */
  cancel(): void {
    this.#timer?.cancel();
  }

  #retire(): void {
    const { agent, isUnused } = this.#o;
    const channel = agent().current();
    if (isUnused() && channel !== undefined) void agent().retire(channel);
  }
}
