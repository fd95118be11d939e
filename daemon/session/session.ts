// One live session: its bus, clients, turns and permission questions, and what is said of it.
import type { AgentChannel, AgentExit, Params } from '../agent/agent.ts';
import type { Clock } from '../contract/clock.ts';
import { fail } from '../contract/errors.ts';
import type { FeedClient, FeedPrompt, FeedSession } from '../contract/feed.ts';
import type { Limits } from '../contract/limits.ts';
import type { Log } from '../contract/log.ts';
import type { SessionCheckout } from '../domain/checkout-request.ts';
import { ClientRegistry } from '../domain/clients.ts';
import { translate } from '../domain/translate.ts';
import { Bus } from '../events/bus.ts';
import { SessionHistory } from '../history/session-history.ts';
import { SessionMetadata } from './metadata.ts';
import { type PermissionSettings, Permissions } from './permissions.ts';
import { SessionSettings } from './settings.ts';
import { type Abort, Turns } from './turns.ts';

export interface SessionOptions {
  readonly sessionId: string;
  readonly workspaceCwd: string;
  readonly channel: AgentChannel;
  readonly source: { readonly sourceType?: string; readonly sourceId?: string };
  /** Default: it works in the workspace as it is. */
  readonly checkout?: SessionCheckout;
  readonly clock: Clock;
  readonly log: Log;
  readonly limits: Limits;
  readonly permissionSettings: PermissionSettings;
  /** Undefined: no past, and none is kept. */
  readonly past?: SessionHistory | undefined;
  /** What is known of a session that lived before. */
  readonly before?: SessionBefore | undefined;
  readonly onPrompt: (prompt: FeedPrompt) => void;
  readonly onHead: (head: number) => void;
  /** Something that may keep the session open has ended: the last turn, stream or client. */
  readonly onMaybeIdle: (session: Session) => void;
  /** The agent has given the session another name. */
  readonly onRenamed: (session: Session) => void;
  /** A client has switched the model, for this session and as the workspace's default. */
  readonly onModelChosen: (modelId: string, clientId: string | undefined) => void;
}

export interface SessionBefore {
  readonly createdAtMs: number;
  readonly displayName?: string | undefined;
  /** Ids of the bus start above it. */
  readonly idFloor: number;
  /** Registrations that go on. */
  readonly clients: readonly FeedClient[];
}

/** `open`, then once and for ever `ended`. */
type State = 'open' | 'ended';

export class Session {
  readonly sessionId: string;
  /** Canonical path. */
  readonly workspaceCwd: string;
  readonly channel: AgentChannel;
  readonly bus: Bus;
  readonly clients = new ClientRegistry();
  readonly turns: Turns;
  readonly permissions: Permissions;
  readonly settings: SessionSettings;
  readonly createdAtMs: number;
  readonly source: SessionOptions['source'];
  readonly checkout: SessionCheckout;
  readonly past: SessionHistory;
  readonly metadata: SessionMetadata;
  readonly #o: SessionOptions;
  #state: State = 'open';
  #lastSeenAtMs: number;
  #lastActivityAtMs: number;
  /** Background work that the agent says it holds for this session. */
  #holds: readonly unknown[] = [];

  constructor(options: SessionOptions) {
    const { sessionId, channel, clock, limits, log } = options;
    this.#o = options;
    this.sessionId = sessionId;
    this.workspaceCwd = options.workspaceCwd;
    this.channel = channel;
    this.source = options.source;
    this.checkout = options.checkout ?? {};
    const { before, past = new SessionHistory(limits, undefined) } = options;
    this.createdAtMs = before?.createdAtMs ?? clock.nowMs();
    this.clients.adopt(before?.clients ?? []);
    this.#lastSeenAtMs = clock.nowMs();
    this.#lastActivityAtMs = this.#lastSeenAtMs;
    this.past = past;
    this.bus = new Bus({
      idFloor: Math.max(before?.idFloor ?? 0, past.idFloor),
      observer: past,
      bounds: { maxEvents: limits.eventRingSize, maxBytes: limits.eventRingBytes },
      clock,
      log,
      onHead: options.onHead,
      pauseAgent: () => {
        channel.pause();
        return () => channel.resume();
      },
    });
    this.metadata = new SessionMetadata(
      { sessionId, channel, bus: this.bus, past, log, limits },
      before?.displayName,
    );
    past.whenDegraded(() =>
      this.bus.publish('session_recording_degraded', { sessionId, reason: 'write_failed' }),
    );
    this.turns = new Turns({
      sessionId,
      bus: this.bus,
      channel,
      clock,
      log,
      limits,
      permissions: () => this.permissions,
      onPrompt: (prompt) => {
        this.#lastActivityAtMs = prompt.atMs;
        options.onPrompt(prompt);
        if (prompt.state === 'completed' || prompt.state === 'failed') this.settings.turnEnded();
      },
      onIdle: () => options.onMaybeIdle(this),
    });
    this.permissions = new Permissions({
      sessionId,
      bus: this.bus,
      clients: this.clients,
      clock,
      limits,
      settings: options.permissionSettings,
      runningPrompt: () => this.turns.running,
    });
    this.settings = new SessionSettings({
      sessionId,
      workspaceCwd: options.workspaceCwd,
      bus: this.bus,
      channel,
      clock,
      log,
      limits,
      turnTags: () => this.#turnTags(),
      onModelChosen: options.onModelChosen,
    });
  }

  get hasEnded(): boolean {
    return this.#state === 'ended';
  }

  get hasBackgroundWork(): boolean {
    return this.#holds.length > 0;
  }

  /** What the agent holds for this session now; each report replaces the one before. */
  backgroundWorkReported(holds: readonly unknown[]): void {
    const wasHeld = this.hasBackgroundWork;
    this.#holds = holds;
    if (wasHeld && holds.length === 0) this.#o.onMaybeIdle(this);
  }

  /** Newest of creation, heartbeat, and prompt step. */
  get lastActivityAtMs(): number {
    return Math.max(this.#lastSeenAtMs, this.#lastActivityAtMs);
  }

  /** Whether there is a turn, work of the agent, or a question. */
  get isWorking(): boolean {
    return !this.turns.isIdle || this.hasBackgroundWork || this.permissions.openCount > 0;
  }

  /** Whether there is work, or a stream. */
  get isBusy(): boolean {
    return this.isWorking || this.bus.readerCount > 0;
  }

  /** Whether anything, or a client, holds the session open. */
  get isInUse(): boolean {
    return this.isBusy || this.clients.size > 0;
  }

  /** @throws ApiError 400 for an id that is not registered here; an absent id is anonymous. */
  checkClient(clientId: string | undefined): void {
    if (clientId === undefined || this.clients.has(clientId)) return;
    throw fail('invalid_client_id', 'Client id is not registered on this session', {
      sessionId: this.sessionId,
      clientId,
    });
  }

  /** Moves the watermarks. The client id has been checked. @returns the time that was recorded. */
  touch(clientId: string | undefined): number {
    const nowMs = this.#o.clock.nowMs();
    this.#lastSeenAtMs = nowMs;
    if (clientId !== undefined) this.clients.touch(clientId, nowMs);
    return nowMs;
  }

  /** A `session/update` of the agent: goes out verbatim, as part of the running turn if there is one. */
  agentUpdate(params: Params, json?: string): void {
    const tags = this.#turnTags();
    this.settings.updateSeen(params, () => this.bus.publish('session_update', params, tags, json));
  }

  /** Any other notification of the agent about this session. @returns false when it means nothing here. */
  agentNotification(method: string, params: Params): boolean {
    if (this.settings.notified(method, params)) return true;
    if (method === 'qwen/notify/session/pr-binding') return this.metadata.boundByAgent(params);
    const events = translate(method, params);
    for (const { type, data } of events ?? []) {
      this.bus.publish(type, data);
      if (type !== 'session_metadata_updated') continue;
      this.metadata.renamedByAgent(data);
      this.#o.onRenamed(this);
    }
    return events !== undefined;
  }

  /** Ends cleanly on a caller's behalf: prompts, questions, `session_closed`, streams. Only the first call counts. */
  close(reason: string, extras: Readonly<Record<string, unknown>> = {}): boolean {
    const error = { message: 'The session was closed', code: 'session_closed' };
    return this.#end({ running: error, waiting: error, isAgentGone: false }, 'session_closed', {
      reason,
      ...extras,
    });
  }

  /** The agent child is gone: the protocol's crash sequence. Only the first call counts. */
  agentDied(exit: AgentExit): boolean {
    const message = 'agent channel closed mid-request: the agent process ended';
    return this.#end(
      { running: { message }, waiting: { message, code: 'channel_closed' }, isAgentGone: true },
      'session_died',
      {
        reason: 'channel_closed',
        ...(exit.code === null ? {} : { exitCode: exit.code }),
        ...(exit.signal === null ? {} : { signalCode: exit.signal }),
      },
    );
  }

  /** The daemon is stopping. Only the first call counts. */
  daemonStops(): boolean {
    const error = { message: 'The daemon is shutting down', code: 'daemon_shutdown' };
    return this.#end({ running: error, waiting: error, isAgentGone: false }, 'session_died', {
      reason: 'daemon_shutdown',
    });
  }

  /** The session as the coordinator stores it. */
  feedSession(isDefault: boolean): FeedSession {
    const { displayName } = this.metadata.current;
    return {
      sessionId: this.sessionId,
      workspaceCwd: this.workspaceCwd,
      createdAtMs: this.createdAtMs,
      lastSeenAtMs: this.#lastSeenAtMs,
      clients: this.clients.snapshot(),
      ...(displayName === undefined ? {} : { displayName }),
      ...this.source,
      isDefault,
      eventHead: this.bus.ring.head,
    };
  }

  #turnTags() {
    const running = this.turns.running;
    return running === undefined ? {} : { promptId: running.promptId, originatorClientId: running.clientId };
  }

  #end(
    prompts: Abort,
    type: 'session_closed' | 'session_died',
    data: Readonly<Record<string, unknown>>,
  ): boolean {
    if (this.#state === 'ended') return false;
    this.#state = 'ended';
    this.turns.abortAll(prompts);
    this.permissions.cancelAll('session_closed');
    this.bus.publish(type, { sessionId: this.sessionId, ...data });
    this.bus.end();
    this.past.close();
    return true;
  }
}
