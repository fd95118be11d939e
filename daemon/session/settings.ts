// The settings of a session that clients and the agent may both change (model, approval mode, options), and their values for an
// attaching client. Model and mode publish their own events; this class routes requests and notifications to them.
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
  /** The agent's answer to `session/new`, `session/load` or `session/resume`, kept for its lists of models, modes and options. */
  #state: JsonRecord = {};
  #availableCommands: readonly unknown[] | undefined;
  /** Whether a slash command has put out text in the running turn. */
  #isCommandSeen = false;

  constructor(session: ModeSession, listener: ModelListener) {
    this.#model = new SessionModel(session, listener);
    this.#mode = new SessionMode(session);
  }

  /** Takes the initial values from the agent's answer to `session/new`, `session/load` or `session/resume`. Publishes nothing. */
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

  /** The slash commands that the agent announced last; undefined before its first announcement. */
  get availableCommands(): readonly unknown[] | undefined {
    return this.#availableCommands;
  }

  /** The settings as the daemon knows them without asking the agent, in the form of the context route's `state`. */
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
   * Switches the model, after every switch that was requested earlier. Publishes `model_switched` and reports the workspace's new
   * default to the listener, or publishes `model_switch_failed`.
   * @returns the agent's raw answer to `session/set_model`.
   * @throws AgentCallError, AgentGone, AgentTimeout; ApiError 404 when the session has ended meanwhile.
   */
  switchModel(modelId: string, clientId: string | undefined): Promise<unknown> {
    return this.#model.switchTo(modelId, clientId);
  }

  /**
   * Changes the approval mode, after every change that was requested earlier. Publishes `approval_mode_changed`.
   * @throws AgentCallError, AgentGone, AgentTimeout; UnusableAnswer for a mode that no client knows; ApiError 404 when the
   *   session has ended meanwhile, 501 when the agent cannot plan first.
   */
  switchMode(request: ModeRequest, clientId: string | undefined): Promise<ModeAnswer> {
    return this.#mode.switchTo(request, clientId);
  }

  /** Switches this session to the workspace's new default mode, which was chosen through another session. Never rejects. */
  followDefault(mode: ApprovalMode, clientId: string | undefined): Promise<void> {
    return this.#mode.followDefault(mode, clientId);
  }

  /**
   * Handles a notification of the agent about its model or mode.
   * @param running the running prompt, to which a change by the agent is attributed; undefined where no turn runs.
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
   * Takes commands, options and mode from a `session/update`, and calls `publish` to put it on the bus. Leaves out a
   * `current_mode_update` for a change for which the daemon has published one already.
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

  /**
   * To be called when a turn has ended. A slash command in the turn, `/model` for one, may have changed a setting without a
   * notification: then the agent's values are read.
   */
  turnEnded(): void {
    if (!this.#isCommandSeen) return;
    this.#isCommandSeen = false;
    this.#model.verify();
    this.#mode.verify();
  }

  /** Takes over the options from the agent's answer to `session/set_config_option`. */
  configOptionsChanged(configOptions: readonly unknown[]): void {
    this.#state = { ...this.#state, configOptions };
  }
}
