// The prompt of one session that passed its deadline: it has ended for clients, but the agent still works on it. The next prompt
// waits until the agent is free, but not for ever.
import type { Clock, Timer } from '../contract/clock.ts';
import type { PromptEntry } from '../domain/prompt-queue.ts';

export class OverduePrompt {
  readonly #clock: Clock;
  readonly #graceMs: number;
  readonly #onAgentFree: () => void;
  #pending: { readonly entry: PromptEntry; readonly timer: Timer } | undefined;

  /** @param graceMs how long the agent may go on with an overdue prompt before it is taken to be free. */
  constructor(clock: Clock, graceMs: number, onAgentFree: () => void) {
    this.#clock = clock;
    this.#graceMs = graceMs;
    this.#onAgentFree = onAgentFree;
  }

  /** Whether an overdue prompt occupies the agent: then no other prompt starts. */
  get isPending(): boolean {
    return this.#pending !== undefined;
  }

  /** Makes `entry` the overdue prompt, because it has passed its deadline, and starts the grace. */
  begin(entry: PromptEntry): void {
    const timer = this.#clock.after(this.#graceMs, () => this.agentFree(entry));
    this.#pending = { entry, timer };
  }

  /**
   * To be called when the agent has ended a prompt; the end of the grace has the same effect. Does nothing for a prompt that is
   * not overdue.
   */
  agentFree(entry: PromptEntry): void {
    if (this.#pending?.entry !== entry) return;
    this.#pending.timer.cancel();
    this.#pending = undefined;
    this.#onAgentFree();
  }
}
