// The prompt of one session that passed its deadline: it has ended for clients, and still occupies the agent. The next prompt
// waits for the agent to let go of it, but not for ever.
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

  /** The prompt has passed its deadline: the grace begins. */
  begin(entry: PromptEntry): void {
    const timer = this.#clock.after(this.#graceMs, () => this.agentFree(entry));
    this.#pending = { entry, timer };
  }

  /** The agent has let go of the prompt, or the grace is over. Does nothing for a prompt that is not overdue. */
  agentFree(entry: PromptEntry): void {
    if (this.#pending?.entry !== entry) return;
    this.#pending.timer.cancel();
    this.#pending = undefined;
    this.#onAgentFree();
  }
}
