// Model and approval mode of one session, as told by clients and by the agent: the only publisher of `model_switched`,
// `model_switch_failed` and `approval_mode_changed`, and what an attaching client is told of them.
import type { AgentChannel, Params } from './agent/agent.ts';
import { canReadContext, readContext } from './agent/extensions.ts';
import { askForMode, MODE_METHOD, modeOfAnswer, persistMode, type WantedMode } from './agent-modes.ts';
import type { Bus } from './bus.ts';
import type { Clock } from './contract/clock.ts';
import type { Limits } from './contract/limits.ts';
import type { Log } from './contract/log.ts';
import type { ApprovalMode } from './contract/wire.ts';
import type { EventTags } from './domain/frame.ts';
import { asRecord, type JsonRecord } from './domain/records.ts';
import { type Decision, SideChannelAxis } from './domain/side-channel.ts';
import {
  approvalMode,
  isSameMode,
  isSameModel,
  type ModeValue,
  modelOfState,
  modeOfState,
  type Said,
  saidMode,
  saidModel,
} from './domain/side-channel-values.ts';
import { AxisService, UnusableAnswer } from './side-channel-axis.ts';

const LATE_SWITCH_WINDOW_MS = 30_000;

/** Channels whose agent follows a mode frame by a notification that says more: the frame alone is none. */
const tellsModes = new WeakSet<AgentChannel>();

export interface SideChannelOptions {
  readonly sessionId: string;
  readonly workspaceCwd: string;
  readonly bus: Bus;
  readonly channel: AgentChannel;
  readonly clock: Clock;
  readonly log: Log;
  readonly limits: Pick<Limits, 'initializeTimeoutMs' | 'contextReadTimeoutMs'>;
  /** Whose doing a change of the agent is: prompt and client of the running turn. */
  readonly turnTags: () => EventTags;
}

export interface ModeRequest extends WantedMode {
  /** Also make it the workspace's default. */
  readonly isPersisted: boolean;
}

/** Answer of the approval-mode route. */
export interface ModeAnswer {
  readonly sessionId: string;
  readonly mode: ApprovalMode;
  readonly previous: ApprovalMode;
  readonly persisted: boolean;
  readonly planExecutionMode?: ApprovalMode;
}

export class SideChannel {
  readonly #o: SideChannelOptions;
  readonly #model: SideChannelAxis<string>;
  readonly #mode: SideChannelAxis<ModeValue>;
  readonly #models: AxisService<string>;
  readonly #modes: AxisService<ModeValue>;
  /** What the agent told of itself when the session began: lists that the caches do not keep. */
  #state: JsonRecord = {};
  #availableCommands: readonly unknown[] | undefined;
  /** The running turn has shown the output of a command. */
  #isCommandSeen = false;
  /** The mode that older clients, who know only `current_mode_update` frames, were told last. */
  #toldInFrame: ApprovalMode | undefined;
  /** Generation for which the bridge has published the legacy frame itself. */
  #frameOfBridge: number | undefined;

  constructor(options: SideChannelOptions) {
    this.#o = options;
    const lateSwitchWindowMs = LATE_SWITCH_WINDOW_MS;
    this.#model = new SideChannelAxis({ isSame: isSameModel, lateSwitchWindowMs });
    this.#mode = new SideChannelAxis({ isSame: isSameMode, lateSwitchWindowMs });
    this.#models = new AxisService({
      ...this.#axisParts(modelOfState),
      name: 'model',
      axis: this.#model,
      publish: (value, decision) => this.#publishModel(value, this.#tagsOf(decision)),
    });
    this.#modes = new AxisService({
      ...this.#axisParts(modeOfState),
      name: 'mode',
      axis: this.#mode,
      publish: (value, decision) => this.#publishMode(value, this.#tagsOf(decision), {}),
      agreed: () => this.#tellInFrame(this.#mode.cached?.mode, {}),
    });
  }

  /** Counts of what was told, per axis. */
  get generations(): { readonly model: number; readonly mode: number } {
    return { model: this.#model.generation, mode: this.#mode.generation };
  }

  /** Takes the agent's answer to `session/new`, load or resume. Publishes nothing. */
  seed(answer: Params): void {
    this.#state = answer;
    const model = modelOfState(answer);
    if (model.kind === 'value') this.#model.seed(model.value);
    const mode = modeOfState(answer);
    if (mode.kind !== 'value') return;
    this.#mode.seed(mode.value);
    this.#toldInFrame ??= mode.value.mode;
  }

  /** What an attaching client is told; null where nothing is known. */
  snapshot(): Readonly<Record<string, unknown>> {
    const mode = this.#mode.cached;
    const execution = mode?.planExecutionMode;
    return {
      currentModelId: this.#model.cached ?? null,
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
      models: { availableModels: [], ...asRecord(models), currentModelId: this.#model.cached ?? null },
      modes: {
        availableModes: [],
        ...asRecord(modes),
        currentModeId: this.#mode.cached?.mode ?? asRecord(modes).currentModeId ?? null,
      },
      configOptions: Array.isArray(configOptions) ? configOptions : [],
    };
  }

  /**
   * Switches the model after every switch asked for before. Tells `model_switched` or `model_switch_failed`.
   * @returns the agent's raw answer.
   * @throws AgentCallError, AgentGone, AgentTimeout; ApiError 404 when the session has ended meanwhile.
   */
  async switchModel(modelId: string, clientId: string | undefined): Promise<unknown> {
    const { channel, sessionId, bus } = this.#o;
    const tags = { originatorClientId: clientId };
    const answer = await this.#models.change({
      method: 'session/set_model',
      ask: () => channel.request('session/set_model', { sessionId, modelId }, undefined),
      valueIn: () => modelId,
      done: (value) => this.#publishModel(value, tags),
      failed: (error) => {
        const message = error instanceof Error ? error.message : String(error);
        bus.publish('model_switch_failed', { sessionId, requestedModelId: modelId, error: message }, tags);
      },
    });
    return answer ?? {};
  }

  /**
   * Changes the approval mode after every change asked for before. Tells `approval_mode_changed`.
   * @throws AgentCallError, AgentGone, AgentTimeout; UnusableAnswer for a mode that no client knows; ApiError 404 when the
   *   session has ended meanwhile, 501 when the agent cannot plan first.
   */
  async switchMode(request: ModeRequest, clientId: string | undefined): Promise<ModeAnswer> {
    const { channel, sessionId } = this.#o;
    let told: Omit<ModeAnswer, 'sessionId'> | undefined;
    await this.#modes.change({
      method: MODE_METHOD,
      ask: () => askForMode(channel, sessionId, request),
      valueIn: modeOfAnswer,
      done: async (value, answer) => {
        const previous = approvalMode(asRecord(answer).previous) ?? this.#mode.cached?.mode ?? 'default';
        const persisted = request.isPersisted && (await this.#persist(request.mode));
        this.#publishMode(value, { originatorClientId: clientId }, { previous, persisted });
        told = { ...value, previous, persisted };
      },
    });
    if (told === undefined) throw new UnusableAnswer('The agent gave no approval mode');
    return { sessionId, ...told };
  }

  /** Follows a change of the workspace's default that was made through another session. Never rejects. */
  async followDefault(mode: ApprovalMode, clientId: string | undefined): Promise<void> {
    const { channel, log, sessionId } = this.#o;
    try {
      await this.#modes.change({
        method: MODE_METHOD,
        ask: () => askForMode(channel, sessionId, { mode }),
        valueIn: modeOfAnswer,
        done: (value) => this.#publishMode(value, { originatorClientId: clientId }, { persisted: true }),
      });
    } catch (error) {
      log.warn({ err: error, sessionId, mode }, 'the session did not follow the new approval mode');
    }
  }

  /** Takes a notification of the agent. @returns false when it is about something else. */
  notified(method: string, params: Params): boolean {
    if (method === 'qwen/notify/session/model-update') {
      this.#models.notified(saidModel(params.currentModelId));
      return true;
    }
    if (method !== 'qwen/notify/session/mode-update') return false;
    tellsModes.add(this.#o.channel);
    const { currentModeId, planExecutionMode, legacyFrameSent } = params;
    if (legacyFrameSent === true) this.#toldInFrame = approvalMode(currentModeId);
    this.#modes.notified(saidMode(currentModeId, planExecutionMode));
    return true;
  }

  /**
   * Looks at a `session/update` before `publish` puts it on the bus. An agent's own mode frame is also its notification;
   * it is left out where the bridge has told the same change to older clients already.
   */
  updateSeen(params: Params, publish: () => void): void {
    const update = asRecord(params.update);
    if (update.sessionUpdate === 'current_mode_update') {
      this.#modeFrame(update.currentModeId, publish);
      return;
    }
    if (asRecord(update._meta).source === 'slash_command') this.#isCommandSeen = true;
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
    this.#models.verify();
    this.#modes.verify();
  }

  /** Takes over options that the agent answered a change with. */
  configOptionsChanged(configOptions: readonly unknown[]): void {
    this.#state = { ...this.#state, configOptions };
  }

  #modeFrame(modeId: unknown, publish: () => void): void {
    const mode = approvalMode(modeId);
    const isToldAlready =
      !this.#mode.isInFlight &&
      mode !== undefined &&
      mode === this.#mode.cached?.mode &&
      this.#frameOfBridge === this.#mode.generation;
    if (isToldAlready) {
      this.#frameOfBridge = undefined;
      return;
    }
    publish();
    this.#toldInFrame = mode;
    if (!tellsModes.has(this.#o.channel)) this.#modes.notified(saidMode(modeId, undefined));
  }

  /** The one place that tells a model: bus, cache and generation in one tick. */
  #publishModel(modelId: string, tags: EventTags): void {
    const { bus, sessionId } = this.#o;
    const id = bus.publish('model_switched', { sessionId, modelId }, tags);
    if (id !== undefined) this.#model.published(modelId);
  }

  /** The one place that tells a mode, to older clients too, unless the agent has told those itself. */
  #publishMode(
    value: ModeValue,
    tags: EventTags,
    { previous, persisted = false }: { readonly previous?: ApprovalMode; readonly persisted?: boolean },
  ): void {
    const { bus, sessionId } = this.#o;
    const { mode, planExecutionMode: execution } = value;
    const known = this.#mode.cached?.mode;
    const isFrameDue = this.#tellInFrame(mode, tags);
    const data = {
      sessionId,
      previous: previous ?? known ?? 'default',
      next: mode,
      persisted,
      ...(execution === undefined ? {} : { planExecutionMode: execution }),
    };
    if (bus.publish('approval_mode_changed', data, tags) === undefined) return;
    this.#mode.published(value);
    this.#frameOfBridge = isFrameDue ? this.#mode.generation : undefined;
  }

  /** Tells older clients of a mode, unless they know. @returns whether it did. */
  #tellInFrame(mode: ApprovalMode | undefined, tags: EventTags): boolean {
    if (mode === undefined || this.#toldInFrame === mode) return false;
    this.#toldInFrame = mode;
    const { bus, sessionId } = this.#o;
    const update = { sessionUpdate: 'current_mode_update', currentModeId: mode };
    bus.publish('session_update', { sessionId, update }, tags);
    return true;
  }

  #tagsOf({ action }: Decision<unknown>): EventTags {
    return action === 'promoted' ? this.#o.turnTags() : {};
  }

  /** @returns false where the agent keeps no such setting, or failed to. */
  async #persist(mode: ApprovalMode): Promise<boolean> {
    const { channel, workspaceCwd, limits, log, sessionId } = this.#o;
    try {
      return await persistMode(channel, workspaceCwd, mode, limits.initializeTimeoutMs);
    } catch (error) {
      log.warn({ err: error, sessionId, mode }, 'the approval mode could not be persisted');
      return false;
    }
  }

  #axisParts<Value>(valueIn: (state: JsonRecord) => Said<Value>) {
    const { sessionId, bus, channel, clock, log, limits } = this.#o;
    return {
      sessionId,
      clock,
      log,
      changeTimeoutMs: limits.initializeTimeoutMs,
      isGone: () => bus.hasEnded || channel.isDying,
      canRead: () => canReadContext(channel),
      read: async () => {
        const context = await readContext(channel, sessionId, limits.contextReadTimeoutMs);
        return context === undefined ? undefined : valueIn(asRecord(asRecord(context).state));
      },
    };
  }
}
