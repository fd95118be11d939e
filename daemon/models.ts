// Model switches of one session, one at a time: asked of the agent, told on the bus.
import type { AgentChannel } from './agent/agent.ts';
import type { Bus } from './bus.ts';
import type { Limits } from './contract/limits.ts';

export interface ModelsOptions {
  readonly sessionId: string;
  readonly bus: Bus;
  readonly channel: AgentChannel;
  readonly limits: Pick<Limits, 'initializeTimeoutMs'>;
}

export class Models {
  readonly #o: ModelsOptions;
  #last: Promise<unknown> = Promise.resolve();
  #pending = 0;

  constructor(options: ModelsOptions) {
    this.#o = options;
  }

  /** Whether a switch is under way or waits for its turn. */
  get isSwitching(): boolean {
    return this.#pending > 0;
  }

  /**
   * Switches after every switch asked for before. Tells `model_switched` or `model_switch_failed`.
   * @returns the agent's raw answer.
   * @throws AgentCallError, AgentGone, AgentTimeout
   */
  switchTo(modelId: string, clientId: string | undefined): Promise<unknown> {
    this.#pending += 1;
    const turn = this.#last.then(() => this.#switch(modelId, clientId));
    // The next switch waits for this one, however it ends; its own caller hears of the failure.
    this.#last = turn.catch(() => undefined);
    return turn;
  }

  async #switch(modelId: string, clientId: string | undefined): Promise<unknown> {
    const { sessionId, channel, bus, limits } = this.#o;
    const tags = { originatorClientId: clientId };
    try {
      const params = { sessionId, modelId };
      const answer = await channel.request('session/set_model', params, limits.initializeTimeoutMs);
      bus.publish('model_switched', { sessionId, modelId }, tags);
      return answer ?? {};
    } catch (error) {
      const message = error instanceof Error ? error.message : String(error);
      bus.publish('model_switch_failed', { sessionId, requestedModelId: modelId, error: message }, tags);
      throw error;
    } finally {
      this.#pending -= 1;
    }
  }
}
