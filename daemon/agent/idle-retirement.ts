// Lets go of an agent child that nobody uses any more, after an idle time.

import type { Clock, Timer } from '../contract/clock.ts';
import type { Limits } from '../contract/limits.ts';
import type { AgentHost } from './agent.ts';

export interface IdleRetirementOptions {
  readonly agent: () => AgentHost;
  readonly clock: Clock;
  readonly limits: Pick<Limits, 'channelIdleTimeoutMs' | 'channelReuseMs'>;
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
    const { clock, limits } = this.#o;
    const idleMs = Math.max(limits.channelIdleTimeoutMs, limits.channelReuseMs);
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
