// The model of one session, which clients and the agent both change. The only publisher of `model_switched` and
// `model_switch_failed`.
import { reasonOf } from '../agent/failures.ts';
import type { JsonRecord } from '../contract/json-record.ts';
import type { EventTags } from '../domain/frame.ts';
import { isSameModel, modelOfState, saidModel } from '../domain/setting-values.ts';
import { SettingSync, type SettingSyncSession } from './setting-sync.ts';

export interface ModelListener {
  /**
   * Called when a client has switched a session's model. The model is then the workspace's default too, because agents keep the
   * newest choice as the default.
   */
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

  /** The model that was published last, or the initial model; undefined while no model is known. */
  get current(): string | undefined {
    return this.#sync.setting.cached;
  }

  /** Takes the initial model from the agent's answer to `session/new`, `session/load` or `session/resume`. Publishes nothing. */
  seed(state: JsonRecord): void {
    this.#sync.seed(state);
  }

  /** Switches the model for a client, see `SessionSettings.switchModel`. */
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

  /** Handles the agent's model notification. @param tags of the running turn, for the event of a change that the agent made. */
  notified(modelId: unknown, tags: EventTags): void {
    this.#sync.notified(saidModel(modelId), tags);
  }

  /** Starts a read of the agent's model, because the agent may have changed it without a notification. */
  verify(): void {
    this.#sync.verify();
  }

  /** Publishes `model_switched` and makes the model the known value, in one tick. No other code publishes `model_switched`. */
  #publish(modelId: string, tags: EventTags): void {
    const { bus, sessionId } = this.#session;
    const id = bus.publish('model_switched', { sessionId, modelId }, tags);
    if (id !== undefined) this.#sync.setting.published(modelId);
  }
}
