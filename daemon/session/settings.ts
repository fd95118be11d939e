// What clients and the agent may both change of a session beside its turns (model, approval mode, options), and what an
// attaching client is told of it. Model and mode publish for themselves; this sorts what comes to them.
import type { Params } from '../agent/agent.ts';
import { asRecord, isRecord, type JsonRecord } from '../contract/json-record.ts';
import type { ApprovalMode } from '../contract/wire.ts';
import { type ModeAnswer, type ModeRequest, SessionMode } from './approval-mode.ts';
import { SessionModel } from './model.ts';
import type { SettingSyncSession } from './setting-sync.ts';

export class SessionSettings {
  readonly #model: SessionModel;
  readonly #mode: SessionMode;
  /** What the agent told of itself when the session began: lists that model and mode do not keep. */
  #state: JsonRecord = {};
  #availableCommands: readonly unknown[] | undefined;
  /** The running turn has shown the output of a command. */
  #isCommandSeen = false;

  constructor(session: SettingSyncSession) {
    this.#model = new SessionModel(session);
    this.#mode = new SessionMode(session);
  }

  /** Takes the agent's answer to `session/new`, load or resume. Publishes nothing. */
  seed(answer: Params): void {
    this.#state = answer;
    this.#model.seed(answer);
    this.#mode.seed(answer);
  }

  /** What an attaching client is told; null where nothing is known. */
  snapshot(): Readonly<Record<string, unknown>> {
    const mode = this.#mode.current;
    const execution = mode?.planExecutionMode;
    return {
      currentModelId: this.#model.current ?? null,
      currentApprovalMode: mode?.mode ?? null,
      ...(execution === undefined ? {} : { planExecutionMode: execution }),
    };
  }

  /** The commands that the agent announced last; undefined before it did. */
  get availableCommands(): readonly unknown[] | undefined {
    return this.#availableCommands;
  }

  /** `state` of the context route as far as it is known without asking the agent. */
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
   * Switches the model after every switch asked for before. Tells `model_switched`, and the workspace of its new default, or
   * `model_switch_failed`.
   * @returns the agent's raw answer.
   * @throws AgentCallError, AgentGone, AgentTimeout; ApiError 404 when the session has ended meanwhile.
   */
  switchModel(modelId: string, clientId: string | undefined): Promise<unknown> {
    return this.#model.switchTo(modelId, clientId);
  }

  /**
   * Changes the approval mode after every change asked for before. Tells `approval_mode_changed`.
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

  /** Takes a notification of the agent. @returns false when it is about something else. */
  notified(method: string, params: Params): boolean {
    if (method === 'qwen/notify/session/model-update') this.#model.notified(params.currentModelId);
    else if (method === 'qwen/notify/session/mode-update') this.#mode.notified(params);
    else return false;
    return true;
  }

  /** Looks at a `session/update` before `publish` puts it on the bus; an agent's own mode frame may be left out. */
  updateSeen(params: Params, publish: () => void): void {
    const update = asRecord(params.update);
    if (update.sessionUpdate === 'current_mode_update') {
      this.#mode.frameSeen(update.currentModeId, publish);
      return;
    }
    if (isRecord(update._meta) && update._meta.source === 'slash_command') this.#isCommandSeen = true;
    if (update.sessionUpdate === 'available_commands_update' && Array.isArray(update.availableCommands))
      this.#availableCommands = update.availableCommands;
    if (update.sessionUpdate === 'config_option_update' && Array.isArray(update.configOptions))
      this.#state = { ...this.#state, configOptions: update.configOptions };
    publish();
  }

  /** A command of the conversation, `/model` for one, may change what the agent notifies nobody of. */
  turnEnded(): void {
    if (!this.#isCommandSeen) return;
    this.#isCommandSeen = false;
    this.#model.verify();
    this.#mode.verify();
  }

  /** Takes over options that the agent answered a change with. */
  configOptionsChanged(configOptions: readonly unknown[]): void {
    this.#state = { ...this.#state, configOptions };
  }
}
