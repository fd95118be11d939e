// The model of one session, as clients and the agent change it: the only publisher of `model_switched` and
// `model_switch_failed`.
import { reasonOf } from '../agent/failures.ts';
import type { JsonRecord } from '../contract/json-record.ts';
import type { EventTags } from '../domain/frame.ts';
import { isSameModel, modelOfState, saidModel } from '../domain/setting-values.ts';
import { SettingSync, type SettingSyncSession } from './setting-sync.ts';

export class SessionModel {
  readonly #session: SettingSyncSession;
  readonly #service: SettingSync<string>;

  constructor(session: SettingSyncSession) {
    this.#session = session;
    this.#service = new SettingSync({
      name: 'model',
      session,
      isSame: isSameModel,
      valueIn: modelOfState,
      publish: (modelId, tags) => this.#publish(modelId, tags),
    });
  }

  /** What was told last, or seeded; undefined while nothing is known. */
  get current(): string | undefined {
    return this.#service.setting.cached;
  }

  /** Takes what the agent says when the session begins. Publishes nothing. */
  seed(state: JsonRecord): void {
    this.#service.seed(state);
  }

  /** See `SideChannel.switchModel`. */
  async switchTo(modelId: string, clientId: string | undefined): Promise<unknown> {
    const { channel, sessionId, bus, onModelChosen } = this.#session;
    const tags = { originatorClientId: clientId };
    const answer = await this.#service.change({
      method: 'session/set_model',
      ask: () => channel.request('session/set_model', { sessionId, modelId }, undefined),
      valueIn: () => modelId,
      done: (value) => {
        this.#publish(value, tags);
        onModelChosen(value, clientId);
      },
      failed: (error) => {
        const data = { sessionId, requestedModelId: modelId, error: reasonOf(error) };
        bus.publish('model_switch_failed', data, tags);
      },
    });
    return answer ?? {};
  }

  /** The agent says which model it uses. */
  notified(modelId: unknown): void {
    this.#service.notified(saidModel(modelId));
  }

  /** Asks the agent, because it may have changed without a word. */
  verify(): void {
    this.#service.verify();
  }

  /** The one place that tells a model: bus, cache and generation in one tick. */
  #publish(modelId: string, tags: EventTags): void {
    const { bus, sessionId } = this.#session;
    const id = bus.publish('model_switched', { sessionId, modelId }, tags);
    if (id !== undefined) this.#service.setting.published(modelId);
  }
}
