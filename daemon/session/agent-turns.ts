// Runs the prompts of one session on the agent, and asks the agent to end the running prompt.
import type { AgentChannel } from '../agent/agent.ts';
import { cancelTurn } from '../agent/extensions.ts';
import type { Limits } from '../contract/limits.ts';
import type { Log } from '../contract/log.ts';
import type { PromptEntry } from '../domain/prompt-queue.ts';

export interface AgentTurnsDeps {
  readonly sessionId: string;
  readonly channel: AgentChannel;
  readonly limits: Pick<Limits, 'initializeTimeoutMs'>;
  readonly log: Log;
}

export class AgentTurns {
  readonly #deps: AgentTurnsDeps;

  constructor(deps: AgentTurnsDeps) {
    this.#deps = deps;
  }

  /** Whether the agent child is dying: then no prompt may start. */
  get isDying(): boolean {
    return this.#deps.channel.isDying;
  }

  /**
   * Runs a prompt for as long as it takes.
   * @returns the agent's answer to `session/prompt`, which ends the turn.
   * @throws AgentCallError, AgentGone
   */
  run({ request, content }: PromptEntry): Promise<unknown> {
    const { channel, sessionId } = this.#deps;
    return channel.request('session/prompt', { ...request, sessionId, prompt: content }, undefined);
  }

  /**
   * Asks the agent to end the running prompt. Never rejects: an agent that does not take the cancel ends the turn anyway, or
   * dies.
   */
  async cancel(): Promise<void> {
    const { channel, sessionId, limits, log } = this.#deps;
    try {
      await cancelTurn(channel, sessionId, limits.initializeTimeoutMs);
    } catch (error) {
      log.warn({ err: error, sessionId }, 'the agent did not acknowledge a cancel');
    }
  }
}
