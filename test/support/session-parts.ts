// The services of one session wired as the daemon wires them, over a fake channel and a clock that stands still.
import type { Params } from '../../daemon/agent/agent.ts';
import type { FeedPrompt } from '../../daemon/contract/feed.ts';
import { DEFAULT_LIMITS, type Limits } from '../../daemon/contract/limits.ts';
import { createLog, type Log } from '../../daemon/contract/log.ts';
import type { EventEnvelope } from '../../daemon/contract/wire.ts';
import type { Bus } from '../../daemon/events/bus.ts';
import type { PermissionSettings } from '../../daemon/session/permissions.ts';
import { Session } from '../../daemon/session/session.ts';
import { FakeChannel } from './fake-channel.ts';
import { ManualClock } from './manual-clock.ts';

export const SILENT: Log = createLog('test', 'silent');

export interface PartsOptions {
  readonly limits?: Partial<Limits>;
  readonly permissions?: Partial<PermissionSettings>;
}

export class SessionParts {
  readonly clock = new ManualClock();
  readonly channel = new FakeChannel(this.clock);
  readonly steps: FeedPrompt[] = [];
  readonly session: Session;
  /** How often the session said that nothing may hold it any more. */
  idleCount = 0;

  constructor(options: PartsOptions = {}) {
    const { clock, channel, steps } = this;
    this.session = new Session(
      { sessionId: 's-1', workspaceCwd: '/ws', channel, source: {} },
      {
        clock,
        log: SILENT,
        limits: { ...DEFAULT_LIMITS, ...options.limits },
        permissionSettings: {
          policy: 'first-responder',
          consensusQuorum: undefined,
          requestIdPrefix: '',
          ...options.permissions,
        },
        listener: {
          prompt: (step) => steps.push(step),
          head: () => undefined,
          renamed: () => undefined,
          modelChosen: () => undefined,
          maybeIdle: () => {
            this.idleCount += 1;
          },
        },
      },
    );
  }

  get events(): EventEnvelope[] {
    return eventsOf(this.session.bus);
  }

  /** Everything on the bus, a word per event: its type, and what tells events of one type apart. */
  get story(): string[] {
    return this.events.map(wordOf);
  }

  get types(): string[] {
    return this.events.map(({ type }) => type);
  }

  /** Admits a prompt of one text block. @returns its id. */
  prompt(text = 'hello', clientId?: string, extras: Params = {}): string {
    const body = { prompt: [{ type: 'text', text }], ...extras };
    return this.session.turns.submit(body, clientId).promptId;
  }

  /** Registers a client. */
  join(clientId: string): void {
    this.session.clients.register(undefined, clientId, this.clock.nowMs());
  }

  /** Asks a question as the agent does. @returns what becomes of it; `answers` counts up to one. */
  ask(params: Params = {}): Question {
    const question: Question = { answers: [], requestId: '' };
    const before = new Set(this.session.permissions.open().map(({ requestId }) => requestId));
    void this.session
      .askPermission({ toolCall: { toolCallId: 'call-1', title: 'edit' }, options: OPTIONS, ...params })
      .then((answer) => question.answers.push(answer));
    const asked = this.session.permissions.open().find(({ requestId }) => !before.has(requestId));
    question.requestId = asked?.requestId ?? '';
    return question;
  }
}

export interface Question {
  readonly answers: Params[];
  /** Empty when the question was answered at once. */
  requestId: string;
}

export const OPTIONS = [
  { optionId: 'allow', name: 'Allow', kind: 'allow_once' },
  { optionId: 'reject', name: 'Reject', kind: 'reject_once' },
];

/** Every event that the bus still keeps, as a client would parse it. */
export function eventsOf({ ring }: Bus): EventEnvelope[] {
  const texts: string[] = [];
  let cursor = ring.oldest - 1;
  for (
    let chunk = ring.chunkAfter(cursor, 4096);
    chunk !== undefined;
    chunk = ring.chunkAfter(cursor, 4096)
  ) {
    texts.push(chunk.bytes.toString());
    cursor = chunk.to;
  }
  return parseFrames(texts.join(''));
}

/** The events of raw SSE text; comments and hints are left out. */
export function parseFrames(text: string): EventEnvelope[] {
  return text
    .split('\n')
    .filter((line) => line.startsWith('data: '))
    .map((line) => JSON.parse(line.slice(6)) as EventEnvelope);
}

/** `type[:what][ reason][ code][ state]`, so that an order of events reads as a list of words. */
function wordOf({ type, data }: EventEnvelope): string {
  const { update, reason, code, state, stopReason, outcome } = data as Record<string, unknown>;
  const kind = (update as { sessionUpdate?: string } | undefined)?.sessionUpdate;
  const decision = (outcome as { outcome?: string } | undefined)?.outcome;
  return [kind ?? type, reason, code, state, stopReason, decision]
    .filter((word) => word !== undefined)
    .join(' ');
}
