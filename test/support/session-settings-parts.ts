// The settings of one session over a fake channel: what is published and logged, and an agent to play against it.
import type { Params } from '../../daemon/agent/agent.ts';
import { createLog } from '../../daemon/contract/log.ts';
import type { EventEnvelope } from '../../daemon/contract/wire.ts';
import type { PromptEntry } from '../../daemon/domain/prompt-queue.ts';
import { Bus } from '../../daemon/events/bus.ts';
import { SessionSettings } from '../../daemon/session/settings.ts';
import { turnTags } from '../../daemon/session/turn-events.ts';
import { FakeChannel } from './fake-channel.ts';
import { ManualClock } from './manual-clock.ts';
import { eventsOf, SILENT } from './session-parts.ts';

export const CONTEXT = 'qwen/status/session/context';
export const SET_MODE = 'qwen/control/session/approval_mode';

/** The prompt that runs all the time. */
const RUNNING: PromptEntry = {
  promptId: 'p-1',
  clientId: 'c-turn',
  content: [],
  request: {},
  queuedAtMs: 0,
  deadlineMs: undefined,
  hadToQueue: false,
};

export interface LoggedDecision {
  readonly axis: string;
  readonly action: string;
  readonly reason: string;
}

export class SettingsParts {
  readonly clock = new ManualClock();
  readonly channel = new FakeChannel(this.clock);
  readonly logged: Record<string, unknown>[] = [];
  readonly bus: Bus;
  readonly settings: SessionSettings;

  constructor(options: { readonly hasContext?: boolean; readonly seed?: Params } = {}) {
    if (options.hasContext !== false) this.channel.answers.delete(CONTEXT);
    this.channel.answers.delete(SET_MODE);
    this.bus = new Bus({
      bounds: { maxEvents: 10_000, maxBytes: 10_000_000 },
      clock: this.clock,
      log: SILENT,
      onHead: () => undefined,
      pauseAgent: () => () => undefined,
    });
    const log = createLog('test', 'debug', {
      write: (line: string) => void this.logged.push(JSON.parse(line)),
    });
    const limits = { initializeTimeoutMs: 1000, contextReadTimeoutMs: 300 };
    const { bus, channel, clock } = this;
    this.settings = new SessionSettings(
      { sessionId: 's-1', workspaceCwd: '/ws', bus, channel, clock, log, limits },
      { modelChosen: () => undefined },
    );
    this.settings.seed(options.seed ?? stateOf('m1', 'default'));
  }

  get events(): EventEnvelope[] {
    return eventsOf(this.bus);
  }

  /** `type:value[:client]`, and `frame:<mode>` for what older clients are told. */
  get story(): string[] {
    return this.events.map(({ type, data, originatorClientId }) => {
      const { modelId, requestedModelId, next, update } = data as Record<string, unknown>;
      const mode = (update as { currentModeId?: string } | undefined)?.currentModeId;
      const name = mode === undefined ? type : 'frame';
      const words = [name, mode ?? next ?? modelId ?? requestedModelId, originatorClientId];
      return words.filter((word) => word !== undefined).join(':');
    });
  }

  /** Every decision, as `axis action reason`. */
  get decisions(): string[] {
    return this.logged
      .filter(({ msg, axis, action }) => axis !== undefined && msg === `${axis} ${action}`)
      .map(({ axis, action, reason }) => `${axis} ${action} ${reason}`);
  }

  get warnings(): unknown[] {
    return this.logged.filter(({ level }) => level === 40).map(({ msg }) => msg);
  }

  notifyModel(currentModelId: unknown): void {
    this.settings.notified(
      'qwen/notify/session/model-update',
      { v: 1, sessionId: 's-1', currentModelId },
      RUNNING,
    );
  }

  notifyMode(currentModeId: unknown, extras: Params = {}): void {
    const params = { v: 1, sessionId: 's-1', currentModeId, ...extras };
    this.settings.notified('qwen/notify/session/mode-update', params, RUNNING);
  }

  /** The agent's own mode frame. */
  frame(currentModeId: string): void {
    const params = { sessionId: 's-1', update: { sessionUpdate: 'current_mode_update', currentModeId } };
    this.settings.updateSeen(params, turnTags(RUNNING), () => this.bus.publish('session_update', params));
  }
}

export function stateOf(model: unknown, mode: unknown): Params {
  return {
    models: { currentModelId: model, availableModels: [] },
    modes: { currentModeId: mode, availableModes: [] },
    configOptions: [],
  };
}

/** An answer of the context method. */
export function contextOf(model: unknown, mode: unknown): Params {
  return { v: 1, sessionId: 's-1', workspaceCwd: '/ws', state: stateOf(model, mode) };
}
