// The approval mode of one session, as clients and the agent change it: the only publisher of `approval_mode_changed`, and
// of the bridge's own `current_mode_update` frames, from which older clients learn the mode.
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

/** Channels whose agent sends a notification with every mode frame: there, a frame alone does not count as a notification. */
const notifiesModes = new WeakSet<AgentChannel>();

/** What the mode needs of its session. */
export interface ModeSession extends SettingSyncSession {
  /** Canonical path. */
  readonly workspaceCwd: string;
}

export interface ModeRequest extends WantedMode {
  /** Whether the mode also becomes the workspace's default. */
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
  readonly #session: ModeSession;
  readonly #sync: SettingSync<ModeValue>;
  /** Mode of the newest `current_mode_update` frame, the only event from which older clients learn it. */
  #modeInFrame: ApprovalMode | undefined;
  /** Generation of the setting for which the bridge has published the frame itself. */
  #frameOfBridge: number | undefined;

  constructor(session: ModeSession) {
    this.#session = session;
    this.#sync = new SettingSync({
      name: 'mode',
      session,
      isSame: isSameMode,
      valueIn: modeOfState,
      publish: (value, tags) => this.#publish(value, tags, {}),
      agreed: () => this.#publishFrame(this.current?.mode, {}),
    });
  }

  /** The mode that was published last, or seeded; undefined while none is known. */
  get current(): ModeValue | undefined {
    return this.#sync.setting.cached;
  }

  /** Takes the mode from the agent's answer that began the session. Publishes nothing. */
  seed(state: JsonRecord): void {
    const value = this.#sync.seed(state);
    this.#modeInFrame ??= value?.mode;
  }

  /** See `SessionSettings.switchMode`. */
  async switchTo(request: ModeRequest, clientId: string | undefined): Promise<ModeAnswer> {
    const { channel, sessionId } = this.#session;
    let published: Omit<ModeAnswer, 'sessionId'> | undefined;
    await this.#sync.change({
      method: MODE_METHOD,
      ask: () => askForMode(channel, sessionId, request),
      valueIn: modeOfAnswer,
      done: async (value, answer) => {
        const previous = approvalMode(asRecord(answer).previous) ?? this.current?.mode ?? 'default';
        const persisted = request.isPersisted && (await this.#persist(request.mode));
        this.#publish(value, { originatorClientId: clientId }, { previous, persisted });
        published = { ...value, previous, persisted };
      },
    });
    if (published === undefined) throw new UnusableAnswer('The agent reported no approval mode');
    return { sessionId, ...published };
  }

  /** See `SessionSettings.followDefault`. */
  async followDefault(mode: ApprovalMode, clientId: string | undefined): Promise<void> {
    const { channel, log, sessionId } = this.#session;
    try {
      await this.#sync.change({
        method: MODE_METHOD,
        ask: () => askForMode(channel, sessionId, { mode }),
        valueIn: modeOfAnswer,
        done: (value) => this.#publish(value, { originatorClientId: clientId }, { persisted: true }),
      });
    } catch (error) {
      log.warn({ err: error, sessionId, mode }, 'the session did not follow the new approval mode');
    }
  }

  /** The agent reports its mode. @param tags of the running turn. */
  notified({ currentModeId, planExecutionMode, legacyFrameSent }: Params, tags: EventTags): void {
    notifiesModes.add(this.#session.channel);
    if (legacyFrameSent === true) this.#modeInFrame = approvalMode(currentModeId);
    this.#sync.notified(saidMode(currentModeId, planExecutionMode), tags);
  }

  /**
   * Handles the agent's own mode frame, which some agents send instead of a notification. The frame is published unless the
   * bridge has published one for the same change already.
   * @param tags of the running turn.
   */
  frameSeen(modeId: unknown, tags: EventTags, publish: () => void): void {
    const mode = approvalMode(modeId);
    const { setting } = this.#sync;
    const isPublishedAlready =
      !setting.isInFlight &&
      mode !== undefined &&
      mode === setting.cached?.mode &&
      this.#frameOfBridge === setting.generation;
    if (isPublishedAlready) {
      this.#frameOfBridge = undefined;
      return;
    }
    publish();
    this.#modeInFrame = mode;
    if (!notifiesModes.has(this.#session.channel)) this.#sync.notified(saidMode(modeId, undefined), tags);
  }

  /** Asks the agent for its mode, because the agent may have changed it without a notification. */
  verify(): void {
    this.#sync.verify();
  }

  /** The one place that publishes a mode; with a frame for older clients, unless the newest frame has the mode already. */
  #publish(
    value: ModeValue,
    tags: EventTags,
    { previous, persisted = false }: { readonly previous?: ApprovalMode; readonly persisted?: boolean },
  ): void {
    const { bus, sessionId } = this.#session;
    const { setting } = this.#sync;
    const { mode, planExecutionMode: execution } = value;
    const known = setting.cached?.mode;
    const isFrameDue = this.#publishFrame(mode, tags);
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

  /** Publishes a frame with the mode, unless the newest frame has that mode already. @returns whether it did. */
  #publishFrame(mode: ApprovalMode | undefined, tags: EventTags): boolean {
    if (mode === undefined || this.#modeInFrame === mode) return false;
    this.#modeInFrame = mode;
    const { bus, sessionId } = this.#session;
    const update = { sessionUpdate: 'current_mode_update', currentModeId: mode };
    bus.publish('session_update', { sessionId, update }, tags);
    return true;
  }

  /** Makes the mode the workspace's default in the agent. @returns false where the agent keeps no settings, or failed to. */
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
