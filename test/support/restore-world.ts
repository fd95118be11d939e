// Sessions and restores wired as the daemon wires them, over an agent that answers when it is told to.

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Params } from '../../daemon/agent/agent.ts';
import type { RestoreRequest } from '../../daemon/contract/control.ts';
import type { FeedBody } from '../../daemon/contract/feed.ts';
import { DEFAULT_LIMITS, type Limits } from '../../daemon/contract/limits.ts';
import type { ApprovalMode } from '../../daemon/contract/wire.ts';
import { parseCreateRequest } from '../../daemon/domain/create-request.ts';
import { TRANSCRIPT_METHOD } from '../../daemon/history/agent-history.ts';
import { createHistoryStore } from '../../daemon/history/store.ts';
import { TranscriptOwnership } from '../../daemon/history/transcript-ownership.ts';
import type { RestoreAction } from '../../daemon/restore/intent.ts';
import type { Restores } from '../../daemon/restore/restores.ts';
import type { AgentEventRouter } from '../../daemon/sessions/agent-event-router.ts';
import type { LiveSessions } from '../../daemon/sessions/live-sessions.ts';
import type { SingleSlot } from '../../daemon/sessions/single-slot.ts';
import { daemonSessions } from './daemon-sessions.ts';
import { type FakeChannel, FakeHost } from './fake-channel.ts';
import { ManualClock, settled } from './manual-clock.ts';
import { SILENT } from './session-parts.ts';

export interface LeftEvent {
  readonly type: string;
  readonly promptId: string;
  readonly data: object;
}

export class RestoreWorld {
  readonly clock = new ManualClock();
  readonly host = new FakeHost(this.clock);
  readonly dir: string;
  readonly records: FeedBody[] = [];
  readonly sessions: LiveSessions;
  readonly restores: Restores;
  readonly ownership: TranscriptOwnership;
  readonly router: AgentEventRouter;
  readonly slot: SingleSlot;
  #channel: FakeChannel | undefined;
  canLoad = true;
  isLoadAnswered = true;
  /** Whether the agent does. */
  keepsTranscripts = false;
  /** Called with each feed record before it is kept. */
  onRecord: (body: FeedBody) => void = () => undefined;

  /** @param dir where an earlier one has kept its sessions. */
  constructor(limits: Partial<Limits> = {}, dir = mkdtempSync(join(tmpdir(), 'qr-'))) {
    this.dir = dir;
    const all = { ...DEFAULT_LIMITS, ...limits };
    this.host.onStart = (channel) => this.#prepare(channel);
    const history = createHistoryStore({
      dir: this.dir,
      clock: this.clock,
      log: SILENT,
      maxBytesPerSession: 1_000_000,
    });
    this.ownership = new TranscriptOwnership(history, all, SILENT);
    const { sessions, restores, router, slot } = daemonSessions({
      clock: this.clock,
      agent: this.host,
      ownership: this.ownership,
      limits,
      publish: (body) => {
        this.onRecord(body);
        return this.records.push(body);
      },
    });
    this.sessions = sessions;
    this.restores = restores;
    this.router = router;
    this.slot = slot;
  }

  get channel(): FakeChannel {
    if (this.#channel === undefined) throw new Error('no agent was started');
    return this.#channel;
  }

  load(
    sessionId = 'old',
    options: Partial<{
      action: RestoreAction;
      approvalMode: ApprovalMode;
      hasLeft: () => boolean;
      offered: string;
    }> = {},
  ) {
    const { action = 'load', approvalMode, hasLeft = () => false, offered } = options;
    const intent = { sessionId, action, source: {}, approvalMode, known: undefined };
    return this.restores.forClient(intent, offered, hasLeft);
  }

  restore(request: Partial<RestoreRequest> = {}) {
    const whole = {
      sessionId: 'old',
      idFloor: 20_000,
      clients: [],
      isDefault: false,
      createdAtMs: 5,
      lostPrompts: [],
    };
    return this.restores.forCoordinator({ ...whole, ...request });
  }

  /** What the daemon of before has left of the session `old`: a transcript with these events, not closed. */
  leftBehind(events: readonly LeftEvent[]): void {
    const session = { sessionId: 'old', workspaceCwd: '/ws', createdAtMs: 5 };
    const recording = this.ownership.history.begin(session, () => undefined);
    for (const [index, event] of events.entries()) {
      const tail = JSON.stringify({ v: 1, ...event, _meta: { serverTimestamp: 77 } }).slice(1);
      recording.note({ id: index + 1, type: event.type, data: event.data, tail });
    }
    recording.flush();
  }

  /** A session that was recorded and has ended. */
  async lived(sessionId: string): Promise<void> {
    const created = await this.sessions.create(
      parseCreateRequest({ sessionScope: 'thread' }),
      undefined,
      () => false,
    );
    this.router.update(created.session.sessionId, chunk('of the past'));
    await settled();
    this.sessions.close(created.session, undefined);
    if (created.session.sessionId !== sessionId) throw new Error(`not ${sessionId}`);
  }

  /** Ends everything; what was kept goes too. */
  end(): void {
    this.sessions.stop();
    rmSync(this.dir, { recursive: true, force: true });
  }

  #prepare(channel: FakeChannel): void {
    this.#channel = channel;
    Object.assign(channel, { process: { ...channel.process, canLoad: this.canLoad } });
    channel.answers.set('session/new', () => ({ sessionId: 'old' }));
    channel.answers.set('session/set_mode', () => ({}));
    if (this.keepsTranscripts) channel.answers.set(TRANSCRIPT_METHOD, () => ({ v: 1, events: [] }));
    if (this.isLoadAnswered) channel.answers.set('session/load', () => ({ models: { currentModelId: 'm' } }));
  }
}

/** An update of the session `old`. */
export function chunk(text: string): Params {
  return {
    sessionId: 'old',
    update: { sessionUpdate: 'agent_message_chunk', content: { type: 'text', text } },
  };
}
