// The approval mode of one session, as clients and the agent change it: the only publisher of `approval_mode_changed`, and
// of the frames that tell older clients of it.
import { type AgentChannel, type Params, UnusableAnswer } from '../agent/agent.ts';

import {
  askForMode,
  MODE_METHOD,
  modeOfAnswer,
  persistMode,
  type WantedMode,
} from '../agent/approval-modes.ts';
import { asRecord, type JsonRecord } from '../contract/json-record.ts';
import type { ApprovalMode } from '../contract/wire.ts';
import type { EventTags } from '../domain/frame.ts';
import { approvalMode, isSameMode, type ModeValue, modeOfState, saidMode } from '../domain/setting-values.ts';
import { SettingSync, type SettingSyncSession } from './setting-sync.ts';

/** Channels whose agent follows a mode frame by a notification that says more: the frame alone is none. */
const tellsModes = new WeakSet<AgentChannel>();

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

export class SessionMode {
  readonly #session: SettingSyncSession;
  readonly #service: SettingSync<ModeValue>;
  /** The mode that older clients, who know only `current_mode_update` frames, were told last. */
  #toldInFrame: ApprovalMode | undefined;
  /** Generation for which the bridge has published the legacy frame itself. */
  #frameOfBridge: number | undefined;

  constructor(session: SettingSyncSession) {
    this.#session = session;
    this.#service = new SettingSync({
      name: 'mode',
      session,
      isSame: isSameMode,
      valueIn: modeOfState,
      publish: (value, tags) => this.#publish(value, tags, {}),
      agreed: () => this.#tellInFrame(this.current?.mode, {}),
    });
  }

  /** What was told last, or seeded; undefined while nothing is known. */
  get current(): ModeValue | undefined {
    return this.#service.setting.cached;
  }

  /** Takes what the agent says when the session begins. Publishes nothing. */
  seed(state: JsonRecord): void {
    const value = this.#service.seed(state);
    this.#toldInFrame ??= value?.mode;
  }

  /** See `SideChannel.switchMode`. */
  async switchTo(request: ModeRequest, clientId: string | undefined): Promise<ModeAnswer> {
    const { channel, sessionId } = this.#session;
    let told: Omit<ModeAnswer, 'sessionId'> | undefined;
    await this.#service.change({
      method: MODE_METHOD,
      ask: () => askForMode(channel, sessionId, request),
      valueIn: modeOfAnswer,
      done: async (value, answer) => {
        const previous = approvalMode(asRecord(answer).previous) ?? this.current?.mode ?? 'default';
        const persisted = request.isPersisted && (await this.#persist(request.mode));
        this.#publish(value, { originatorClientId: clientId }, { previous, persisted });
        told = { ...value, previous, persisted };
      },
    });
    if (told === undefined) throw new UnusableAnswer('The agent reported no approval mode');
    return { sessionId, ...told };
  }

  /** See `SideChannel.followDefault`. */
  async followDefault(mode: ApprovalMode, clientId: string | undefined): Promise<void> {
    const { channel, log, sessionId } = this.#session;
    try {
      await this.#service.change({
        method: MODE_METHOD,
        ask: () => askForMode(channel, sessionId, { mode }),
        valueIn: modeOfAnswer,
        done: (value) => this.#publish(value, { originatorClientId: clientId }, { persisted: true }),
      });
    } catch (error) {
      log.warn({ err: error, sessionId, mode }, 'the session did not follow the new approval mode');
    }
  }

  /** The agent says in which mode it is. */
  notified({ currentModeId, planExecutionMode, legacyFrameSent }: Params): void {
    tellsModes.add(this.#session.channel);
    if (legacyFrameSent === true) this.#toldInFrame = approvalMode(currentModeId);
    this.#service.notified(saidMode(currentModeId, planExecutionMode));
  }

  /**
   * The agent's own frame for older clients, which is also its notification. It is published, except where the bridge has
   * told them of the same change already.
   */
  frameSeen(modeId: unknown, publish: () => void): void {
    const mode = approvalMode(modeId);
    const { setting } = this.#service;
    const isToldAlready =
      !setting.isInFlight &&
      mode !== undefined &&
      mode === setting.cached?.mode &&
      this.#frameOfBridge === setting.generation;
    if (isToldAlready) {
      this.#frameOfBridge = undefined;
      return;
    }
    publish();
    this.#toldInFrame = mode;
    if (!tellsModes.has(this.#session.channel)) this.#service.notified(saidMode(modeId, undefined));
  }

  /** Asks the agent, because it may have changed without a word. */
  verify(): void {
    this.#service.verify();
  }

  /** The one place that tells a mode, to older clients too, unless the agent has told those itself. */
  #publish(
    value: ModeValue,
    tags: EventTags,
    { previous, persisted = false }: { readonly previous?: ApprovalMode; readonly persisted?: boolean },
  ): void {
    const { bus, sessionId } = this.#session;
    const { setting } = this.#service;
    const { mode, planExecutionMode: execution } = value;
    const known = setting.cached?.mode;
    const isFrameDue = this.#tellInFrame(mode, tags);
    const data = {
      sessionId,
      previous: previous ?? known ?? 'default',
      next: mode,
      persisted,
      ...(execution === undefined ? {} : { planExecutionMode: execution }),
    };
    if (bus.publish('approval_mode_changed', data, tags) === undefined) return;
    setting.published(value);
    this.#frameOfBridge = isFrameDue ? setting.generation : undefined;
  }

  /** Tells older clients of a mode, unless they know. @returns whether it did. */
  #tellInFrame(mode: ApprovalMode | undefined, tags: EventTags): boolean {
    if (mode === undefined || this.#toldInFrame === mode) return false;
    this.#toldInFrame = mode;
    const { bus, sessionId } = this.#session;
    const update = { sessionUpdate: 'current_mode_update', currentModeId: mode };
    bus.publish('session_update', { sessionId, update }, tags);
    return true;
  }

  /** @returns false where the agent keeps no such setting, or failed to. */
  async #persist(mode: ApprovalMode): Promise<boolean> {
    const { channel, workspaceCwd, limits, log, sessionId } = this.#session;
    try {
      return await persistMode(channel, workspaceCwd, mode, limits.initializeTimeoutMs);
    } catch (error) {
      log.warn({ err: error, sessionId, mode }, 'the approval mode could not be persisted');
      return false;
    }
  }
}
