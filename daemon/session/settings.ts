// The settings of a session that clients and the agent may both change (model, approval mode, options), and the snapshot of
// them for an attaching client. Model and mode publish their own events; this class routes requests and notifications to them.
import type { Params } from '../agent/agent.ts';
import { asRecord, isRecord, type JsonRecord } from '../contract/json-record.ts';
import type { ApprovalMode } from '../contract/wire.ts';
import type { EventTags } from '../domain/frame.ts';
import type { PromptEntry } from '../domain/prompt-queue.ts';
import { type ModeAnswer, type ModeRequest, type ModeSession, SessionMode } from './approval-mode.ts';
import { type ModelListener, SessionModel } from './model.ts';
import { turnTags } from './turn-events.ts';

export class SessionSettings {
  readonly #model: SessionModel;
  readonly #mode: SessionMode;
  /** The agent's answer that began the session, for its lists of models, modes and options. */
  #state: JsonRecord = {};
  #availableCommands: readonly unknown[] | undefined;
  /** Whether the running turn has shown the output of a slash command. */
  #isCommandSeen = false;

  constructor(session: ModeSession, listener: ModelListener) {
    this.#model = new SessionModel(session, listener);
    this.#mode = new SessionMode(session);
  }

  /** Takes the agent's answer to `session/new`, load or resume. Publishes nothing. */
  seed(answer: Params): void {
    this.#state = answer;
    this.#model.seed(answer);
    this.#mode.seed(answer);
  }

  /** Model and mode for an attaching client; null where a value is not known. */
  snapshot(): Readonly<Record<string, unknown>> {
    const mode = this.#mode.current;
    const execution = mode?.planExecutionMode;
    return {
      currentModelId: this.#model.current ?? null,
      currentApprovalMode: mode?.mode ?? null,
      ...(execution === undefined ? {} : { planExecutionMode: execution }),
    };
  }

  /** The commands that the agent announced last; undefined before the first announcement. */
  get availableCommands(): readonly unknown[] | undefined {
    return this.#availableCommands;
  }

  /** The `state` of the context route, as far as it is known without asking the agent. */
  knownState(): JsonRecord {
    const { models, modes, configOptions } = this.#state;
    return {
      models: { availableModels: [], ...asRecord(models), currentModelId: this.#model.current ?? null },
      modes: {
        availableModes: [],
        ...asRecord(modes),
        currentModeId: this.#mode.current?.mode ?? asRecord(modes).currentModeId ?? null,
      },
      configOptions: Array.isArray(configOptions) ? configOptions : [],
    };
  }

  /**
   * Switches the model after every switch asked for before. Publishes `model_switched` and reports the workspace's new default
   * to the listener, or publishes `model_switch_failed`.
   * @returns the agent's raw answer.
   * @throws AgentCallError, AgentGone, AgentTimeout; ApiError 404 when the session has ended meanwhile.
   */
  switchModel(modelId: string, clientId: string | undefined): Promise<unknown> {
    return this.#model.switchTo(modelId, clientId);
  }

  /**
   * Changes the approval mode after every change asked for before. Publishes `approval_mode_changed`.
   * @throws AgentCallError, AgentGone, AgentTimeout; UnusableAnswer for a mode that no client knows; ApiError 404 when the
   *   session has ended meanwhile, 501 when the agent cannot plan first.
   */
  switchMode(request: ModeRequest, clientId: string | undefined): Promise<ModeAnswer> {
    return this.#mode.switchTo(request, clientId);
  }

  /** Follows a change of the workspace's default that was made through another session. Never rejects. */
  followDefault(mode: ApprovalMode, clientId: string | undefined): Promise<void> {
    return this.#mode.followDefault(mode, clientId);
  }

  /**
   * Takes a notification of the agent.
   * @param running the prompt that runs, to which a change of the agent is attributed.
   * @returns false when the notification is not about a setting.
   */
  notified(method: string, params: Params, running: PromptEntry | undefined): boolean {
    if (method === 'qwen/notify/session/model-update')
      this.#model.notified(params.currentModelId, turnTags(running));
    else if (method === 'qwen/notify/session/mode-update') this.#mode.notified(params, turnTags(running));
    else return false;
    return true;
  }

  /**
   * Looks at a `session/update` before `publish` puts it on the bus; an agent's own mode frame may be left out.
   * @param tags of the running turn.
   */
  updateSeen(params: Params, tags: EventTags, publish: () => void): void {
    const update = asRecord(params.update);
    if (update.sessionUpdate === 'current_mode_update') {
      this.#mode.frameSeen(update.currentModeId, tags, publish);
      return;
    }
    if (isRecord(update._meta) && update._meta.source === 'slash_command') this.#isCommandSeen = true;
    if (update.sessionUpdate === 'available_commands_update' && Array.isArray(update.availableCommands))
      this.#availableCommands = update.availableCommands;
    if (update.sessionUpdate === 'config_option_update' && Array.isArray(update.configOptions))
      this.#state = { ...this.#state, configOptions: update.configOptions };
    publish();
  }

  /** A turn has ended. A slash command in it, `/model` for one, may have changed a setting without a notification. */
  turnEnded(): void {
    if (!this.#isCommandSeen) return;
    this.#isCommandSeen = false;
    this.#model.verify();
    this.#mode.verify();
  }

  /** Takes over the options from the agent's answer to a change of one. */
  configOptionsChanged(configOptions: readonly unknown[]): void {
    this.#state = { ...this.#state, configOptions };
  }
}
