// The approval mode of one session, which clients and the agent both change. The only publisher of `approval_mode_changed`, and
// of the daemon's own `current_mode_update` updates; older clients learn the mode from `current_mode_update`.
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

/**
 * Channels whose agent sends a mode notification with every `current_mode_update`: there, a `current_mode_update` alone does not
 * count as a notification.
 */
const notifiesModes = new WeakSet<AgentChannel>();

/** The parts of its session that `SessionMode` uses. */
export interface ModeSession extends SettingSyncSession {
  /** Canonical path of the workspace. */
  readonly workspaceCwd: string;
}

export interface ModeRequest extends WantedMode {
  /** Whether the agent is also to store the mode as the workspace's default. */
  readonly isPersisted: boolean;
}

/** Body of the answer to a client's change of the approval mode. */
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
  /** The mode in the newest `current_mode_update` on the bus, the only event from which older clients learn the mode. */
  #modeInFrame: ApprovalMode | undefined;
  /** `SyncedSetting.generation` at which the daemon itself has published a `current_mode_update`; undefined where it has not. */
  #frameOfDaemon: number | undefined;

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

  /** The mode that was published last, or the initial mode; undefined while no mode is known. */
  get current(): ModeValue | undefined {
    return this.#sync.setting.cached;
  }

  /** Takes the initial mode from the agent's answer to `session/new`, `session/load` or `session/resume`. Publishes nothing. */
  seed(state: JsonRecord): void {
    const value = this.#sync.seed(state);
    this.#modeInFrame ??= value?.mode;
  }

  /** Changes the mode for a client, see `SessionSettings.switchMode`. */
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

  /** Adopts the workspace's new default mode, see `SessionSettings.followDefault`. */
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

  /** Handles the agent's mode notification. @param tags of the running turn, for the event of a change that the agent made. */
  notified({ currentModeId, planExecutionMode, legacyFrameSent }: Params, tags: EventTags): void {
    notifiesModes.add(this.#session.channel);
    if (legacyFrameSent === true) this.#modeInFrame = approvalMode(currentModeId);
    this.#sync.notified(saidMode(currentModeId, planExecutionMode), tags);
  }

  /**
   * Handles a `current_mode_update` of the agent, which some agents send instead of a mode notification. Calls `publish`, unless
   * the daemon has published a `current_mode_update` for the same change already.
   * @param tags of the running turn.
   */
  frameSeen(modeId: unknown, tags: EventTags, publish: () => void): void {
    const mode = approvalMode(modeId);
    const { setting } = this.#sync;
    const isPublishedAlready =
      !setting.isInFlight &&
      mode !== undefined &&
      mode === setting.cached?.mode &&
      this.#frameOfDaemon === setting.generation;
    if (isPublishedAlready) {
      this.#frameOfDaemon = undefined;
      return;
    }
    publish();
    this.#modeInFrame = mode;
    if (!notifiesModes.has(this.#session.channel)) this.#sync.notified(saidMode(modeId, undefined), tags);
  }

  /** Starts a read of the agent's mode, because the agent may have changed it without a notification. */
  verify(): void {
    this.#sync.verify();
  }

  /**
   * Publishes `approval_mode_changed`, after a `current_mode_update` for older clients, which is left out where the newest one
   * has the mode already. No other code publishes `approval_mode_changed`.
   */
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
    this.#frameOfDaemon = isFrameDue ? setting.generation : undefined;
  }

  /** Publishes a `current_mode_update`, unless the newest one has that mode already. @returns whether it was published. */
  #publishFrame(mode: ApprovalMode | undefined, tags: EventTags): boolean {
    if (mode === undefined || this.#modeInFrame === mode) return false;
    this.#modeInFrame = mode;
    const { bus, sessionId } = this.#session;
    const update = { sessionUpdate: 'current_mode_update', currentModeId: mode };
    bus.publish('session_update', { sessionId, update }, tags);
    return true;
  }

  /**
   * Has the agent store the mode as the workspace's default.
   * @returns false where the agent cannot store settings, or failed to.
   */
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
