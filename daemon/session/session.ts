// One live session: its bus, clients, turns, permission questions, settings and metadata.
import type { AgentChannel, AgentExit, Params } from '../agent/agent.ts';
import type { Clock } from '../contract/clock.ts';
import { fail } from '../contract/errors.ts';
import type { FeedClient, FeedPrompt, FeedSession } from '../contract/feed.ts';
import type { JsonRecord } from '../contract/json-record.ts';
import type { Limits } from '../contract/limits.ts';
import type { Log } from '../contract/log.ts';
import type { SessionCheckout } from '../domain/checkout-request.ts';
import { ClientRegistry } from '../domain/clients.ts';
import { translate } from '../domain/translate.ts';
import { Bus } from '../events/bus.ts';
import { SessionHistory } from '../history/session-history.ts';
import { AgentTurns } from './agent-turns.ts';
import { SessionMetadata } from './metadata.ts';
import type { ModelListener } from './model.ts';
import { type PermissionSettings, Permissions } from './permissions.ts';
import { endByAgentExit, endByClose, endByShutdown, type SessionEnd } from './session-end.ts';
import { SessionSettings } from './settings.ts';
import { type PromptListener, turnTags } from './turn-events.ts';
import { Turns } from './turns.ts';

/** The facts of one session that are known when it is created. */
export interface SessionFacts {
  readonly sessionId: string;
  /** Canonical path of the workspace. */
  readonly workspaceCwd: string;
  readonly channel: AgentChannel;
  readonly source: { readonly sourceType?: string; readonly sourceId?: string };
  /** Branch or worktree of the session. Default: the session works in the workspace as it is. */
  readonly checkout?: SessionCheckout;
  /** The session's transcript. Undefined: the session has no past, and none is kept. */
  readonly past?: SessionHistory | undefined;
  /** What the session takes over from its earlier life; undefined for a session that is not restored. */
  readonly before?: SessionBefore | undefined;
}

/** Services and settings that all sessions of the daemon share. */
export interface SessionServices {
  readonly clock: Clock;
  readonly log: Log;
  readonly limits: Limits;
  readonly permissionSettings: PermissionSettings;
  readonly listener: SessionListener;
}

/** Receives the changes of the daemon's live sessions. Every method is called synchronously, in the tick of the change. */
export interface SessionListener extends PromptListener, ModelListener {
  /** The newest event id of the session's bus, `head`, has advanced by HEAD_STEP since the last call. */
  head(sessionId: string, head: number): void;
  /** The session may be idle now, because its last turn or the agent's background work for it has ended. */
  maybeIdle(session: Session): void;
  /** The agent has given the session another name. */
  renamed(session: Session): void;
}

/** What a restored session takes over from its earlier life. */
export interface SessionBefore {
  readonly createdAtMs: number;
  readonly displayName?: string | undefined;
  /** The number above which the event ids of the restored session begin. */
  readonly idFloor: number;
  /** The clients whose registration on the session stays valid. */
  readonly clients: readonly FeedClient[];
}

/** A session is `open` until it ends; `ended` is final. */
type State = 'open' | 'ended';

export class Session {
  readonly sessionId: string;
  /** Canonical path of the workspace. */
  readonly workspaceCwd: string;
  readonly channel: AgentChannel;
  readonly bus: Bus;
  readonly clients = new ClientRegistry();
  readonly turns: Turns;
  readonly permissions: Permissions;
  readonly settings: SessionSettings;
  readonly createdAtMs: number;
  readonly source: SessionFacts['source'];
  readonly checkout: SessionCheckout;
  readonly past: SessionHistory;
  readonly metadata: SessionMetadata;
  readonly #clock: Clock;
  readonly #listener: SessionListener;
  #state: State = 'open';
  #lastSeenAtMs: number;
  #lastActivityAtMs: number;
  /** The agent's newest report of its background work for this session. */
  #backgroundWork: readonly unknown[] = [];

  constructor(facts: SessionFacts, services: SessionServices) {
    const { sessionId, workspaceCwd, channel, before } = facts;
    const { clock, log, limits, listener, permissionSettings } = services;
    this.#clock = clock;
    this.#listener = listener;
    this.sessionId = sessionId;
    this.workspaceCwd = workspaceCwd;
    this.channel = channel;
    this.source = facts.source;
    this.checkout = facts.checkout ?? {};
    this.past = facts.past ?? new SessionHistory(limits, undefined);
    this.createdAtMs = before?.createdAtMs ?? clock.nowMs();
    this.clients.adopt(before?.clients ?? []);
    this.#lastSeenAtMs = clock.nowMs();
    this.#lastActivityAtMs = this.#lastSeenAtMs;
    const bus = this.#createBus(before?.idFloor ?? 0, services);
    this.bus = bus;
    this.metadata = new SessionMetadata(
      { sessionId, channel, bus, past: this.past, log, limits },
      before?.displayName,
    );
    this.permissions = new Permissions({
      sessionId,
      bus,
      clients: this.clients,
      clock,
      limits,
      settings: permissionSettings,
    });
    this.settings = new SessionSettings(
      { sessionId, workspaceCwd, bus, channel, clock, log, limits },
      listener,
    );
    this.turns = new Turns({
      sessionId,
      bus,
      agent: new AgentTurns({ sessionId, channel, limits, log }),
      permissions: this.permissions,
      clock,
      limits,
      listener: {
        prompt: (step) => this.#promptStepped(step),
        idle: () => listener.maybeIdle(this),
      },
    });
  }

  get hasEnded(): boolean {
    return this.#state === 'ended';
  }

  /** Whether the agent works for this session outside of a turn, by its newest report. */
  get hasBackgroundWork(): boolean {
    return this.#backgroundWork.length > 0;
  }

  /** Takes over the agent's report of its background work for this session; each report replaces the one before. */
  backgroundWorkReported(work: readonly unknown[]): void {
    const hadWork = this.hasBackgroundWork;
    this.#backgroundWork = work;
    if (hadWork && work.length === 0) this.#listener.maybeIdle(this);
  }

  /** The latest of the session's creation, its newest heartbeat and the newest step of a prompt, epoch ms. */
  get lastActivityAtMs(): number {
    return Math.max(this.#lastSeenAtMs, this.#lastActivityAtMs);
  }

  /** Whether a turn runs or waits, the agent has background work, or a permission question is open. */
  get isWorking(): boolean {
    return !this.turns.isIdle || this.hasBackgroundWork || this.permissions.openCount > 0;
  }

  /** Whether the session is working, or an event stream reads its bus. */
  get isBusy(): boolean {
    return this.isWorking || this.bus.readerCount > 0;
  }

  /** Whether the session is busy or a client is registered on it: then it is not closed when a client or a turn leaves it. */
  get isInUse(): boolean {
    return this.isBusy || this.clients.size > 0;
  }

  /**
   * Checks a client id; undefined stands for an anonymous client and passes.
   * @throws ApiError 400 for an id that is not registered on this session.
   */
  checkClient(clientId: string | undefined): void {
    if (clientId === undefined || this.clients.has(clientId)) return;
    throw fail('invalid_client_id', 'Client id is not registered on this session', {
      sessionId: this.sessionId,
      clientId,
    });
  }

  /** Records a heartbeat of a client, whose id the caller has checked. @returns the recorded time, epoch ms. */
  touch(clientId: string | undefined): number {
    const nowMs = this.#clock.nowMs();
    this.#lastSeenAtMs = nowMs;
    if (clientId !== undefined) this.clients.touch(clientId, nowMs);
    return nowMs;
  }

  /**
   * Publishes a `session/update` of the agent verbatim, as part of the running turn if a turn runs.
   * @param json `params` as the agent wrote them, where their text could be cut out of the agent's output line.
   */
  agentUpdate(params: Params, json?: string): void {
    const tags = turnTags(this.turns.running);
    this.settings.updateSeen(params, tags, () => this.bus.publish('session_update', params, tags, json));
  }

  /**
   * Puts a permission question of the agent to the clients, as part of the running turn if a turn runs.
   * @returns the answer for the agent, see `Permissions.ask`.
   */
  askPermission(params: Params): Promise<Params> {
    return this.permissions.ask(params, this.turns.running);
  }

  /**
   * Handles a notification of the agent about this session, other than `session/update`.
   * @returns false for an unknown method and an unusable notification.
   */
  agentNotification(method: string, params: Params): boolean {
    if (this.settings.notified(method, params, this.turns.running)) return true;
    if (method === 'qwen/notify/session/pr-binding') return this.metadata.boundByAgent(params);
    const events = translate(method, params);
    for (const { type, data } of events ?? []) {
      this.bus.publish(type, data);
      if (type !== 'session_metadata_updated') continue;
      this.metadata.renamedByAgent(data);
      this.#listener.renamed(this);
    }
    return events !== undefined;
  }

  /** Ends the session with `session_closed`, see `endByClose`. @returns false when the session had ended before. */
  close(reason: string, extras: JsonRecord = {}): boolean {
    return this.#end(endByClose(reason, extras));
  }

  /** Ends the session because its agent child is gone. @returns as `close`. */
  agentDied(exit: AgentExit): boolean {
    return this.#end(endByAgentExit(exit));
  }

  /** Ends the session because the daemon is stopping. @returns as `close`. */
  daemonStops(): boolean {
    return this.#end(endByShutdown());
  }

  /** The session as the feed reports it. @param isDefault whether the session fills the workspace's slot. */
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

  #createBus(idFloor: number, { clock, log, limits, listener }: SessionServices): Bus {
    const { sessionId, channel, past } = this;
    const bus = new Bus({
      idFloor: Math.max(idFloor, past.idFloor),
      observer: past,
      bounds: { maxEvents: limits.eventRingSize, maxBytes: limits.eventRingBytes },
      clock,
      log,
      onHead: (head) => listener.head(sessionId, head),
      pauseAgent: () => {
        channel.pause();
        return () => channel.resume();
      },
    });
    past.whenDegraded(() => bus.publish('session_recording_degraded', { sessionId, reason: 'write_failed' }));
    return bus;
  }

  #promptStepped(step: FeedPrompt): void {
    this.#lastActivityAtMs = step.atMs;
    this.#listener.prompt(step);
    if (step.state === 'completed' || step.state === 'failed') this.settings.turnEnded();
  }

  /**
   * Ends, in this order: the prompts, the permission questions, the bus with its last event, the transcript.
   * @returns false when the session had ended before.
   */
  #end({ prompts, type, data }: SessionEnd): boolean {
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
