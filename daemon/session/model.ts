// The model of one session, as clients and the agent change it: the only publisher of `model_switched` and
// `model_switch_failed`.
import { reasonOf } from '../agent/failures.ts';
import type { JsonRecord } from '../contract/json-record.ts';
import type { EventTags } from '../domain/frame.ts';
import { isSameModel, modelOfState, saidModel } from '../domain/setting-values.ts';
import { SettingSync, type SettingSyncSession } from './setting-sync.ts';

export interface ModelListener {
  /** A client has switched the model, for this session and as the workspace's default: agents keep the newest choice as that. */
  modelChosen(modelId: string, clientId: string | undefined): void;
}

export class SessionModel {
  readonly #session: SettingSyncSession;
  readonly #listener: ModelListener;
  readonly #sync: SettingSync<string>;

  constructor(session: SettingSyncSession, listener: ModelListener) {
    this.#session = session;
    this.#listener = listener;
    this.#sync = new SettingSync({
      name: 'model',
      session,
      isSame: isSameModel,
      valueIn: modelOfState,
      publish: (modelId, tags) => this.#publish(modelId, tags),
    });
  }

  /** The model that was published last, or seeded; undefined while none is known. */
  get current(): string | undefined {
    return this.#sync.setting.cached;
  }

  /** Takes the model from the agent's answer that began the session. Publishes nothing. */
  seed(state: JsonRecord): void {
    this.#sync.seed(state);
  }

  /** See `SessionSettings.switchModel`. */
  async switchTo(modelId: string, clientId: string | undefined): Promise<unknown> {
    const { channel, sessionId, bus } = this.#session;
    const tags = { originatorClientId: clientId };
    const answer = await this.#sync.change({
      method: 'session/set_model',
      ask: () => channel.request('session/set_model', { sessionId, modelId }, undefined),
      valueIn: () => modelId,
      done: (value) => {
        this.#publish(value, tags);
        this.#listener.modelChosen(value, clientId);
      },
      failed: (error) => {
        const data = { sessionId, requestedModelId: modelId, error: reasonOf(error) };
        bus.publish('model_switch_failed', data, tags);
      },
    });
    return answer ?? {};
  }

  /** The agent reports its model. @param tags of the running turn. */
  notified(modelId: unknown, tags: EventTags): void {
    this.#sync.notified(saidModel(modelId), tags);
  }

  /** Asks the agent for its model, because the agent may have changed it without a notification. */
  verify(): void {
    this.#sync.verify();
  }

  /** The one place that publishes a model: event, known value and generation change in one tick. */
  #publish(modelId: string, tags: EventTags): void {
    const { bus, sessionId } = this.#session;
    const id = bus.publish('model_switched', { sessionId, modelId }, tags);
    if (id !== undefined) this.#sync.setting.published(modelId);
  }
}
