// The life of sessions: who attaches, what is spawned, when a session ends, and what is told of it.
import { randomUUID } from 'node:crypto';
import type { AgentChannel, AgentExit, AgentHost } from '../agent/agent.ts';
import { IdleRetirement } from '../agent/idle-retirement.ts';
import { SessionCloser } from '../agent/session-closer.ts';
import type { Checkouts } from '../checkouts/checkouts.ts';
import type { Clock } from '../contract/clock.ts';
import { fail } from '../contract/errors.ts';
import type { FeedBody } from '../contract/feed.ts';
import type { Limits } from '../contract/limits.ts';
import type { Log } from '../contract/log.ts';
import type { CreateRequest } from '../domain/create-request.ts';
import type { MetadataPatch } from '../domain/metadata.ts';
import { shelvedAs } from '../history/history.ts';
import type { TranscriptOwnership } from '../history/transcript-ownership.ts';
import type { PermissionSettings } from '../session/permissions.ts';
import {
  applyRequestedSettings,
  RequestedSettingRefused,
  type RequestedSettings,
} from '../session/requested-settings.ts';
import type { Session } from '../session/session.ts';
import { AutoClose } from './auto-close.ts';
import { type Obtained, type SpawnContext, type SpawnedSession, spawnOnAgent } from './create.ts';
import { Intake } from './intake.ts';
import { SessionRegister } from './register.ts';
import { SingleSlot } from './single-slot.ts';

export interface SessionsOptions {
  /** Canonical path. */
  readonly workspace: string;
  readonly clock: Clock;
  readonly log: Log;
  readonly limits: Limits;
  readonly permissionSettings: PermissionSettings;
  readonly agent: () => AgentHost;
  readonly ownership: TranscriptOwnership;
  readonly checkouts: Pick<Checkouts, 'around'>;
  /** Tells the coordinator; returns the record's seq. */
  readonly tell: (body: FeedBody) => number;
  readonly noteSeen: (sessionId: string, clientId: string | undefined, atMs: number) => void;
  /** Called in the tick in which a session becomes reachable, to hand over what the agent said before. */
  readonly onRegistered: (session: Session) => void;
}

export interface Created {
  readonly session: Session;
  readonly clientId: string;
  readonly isAttached: boolean;
  readonly isModelApplied: boolean | undefined;
  /** Feed record after which the session is known to the coordinator. */
  readonly feedSeq: number;
}

const NO_WISHES: RequestedSettings = { approvalMode: undefined, modelId: undefined };

export class LiveSessions {
  readonly intake = new Intake();
  readonly sessionCloser: SessionCloser;
  readonly autoClose: AutoClose;
  readonly #o: SessionsOptions;
  readonly #register: SessionRegister;
  readonly #slot = new SingleSlot((id) => this.find(id));
  readonly #retirement: IdleRetirement;

  constructor(options: SessionsOptions) {
    const { limits, log, agent, clock } = options;
    this.#o = options;
    this.sessionCloser = new SessionCloser(limits.initializeTimeoutMs, log);
    this.#register = new SessionRegister(limits);
    this.autoClose = new AutoClose({
      sessions: () => this.all(),
      clock,
      limits,
      close: (session, reason) => this.#close(session, reason),
    });
    const isUnused = () => this.#register.isEmpty;
    const idleMs = Math.max(limits.channelIdleTimeoutMs, limits.channelReuseMs);
    this.#retirement = new IdleRetirement({ agent, clock, idleMs, isUnused });
  }

  all(): readonly Session[] {
    return this.#register.all();
  }

  get liveCount(): number {
    return this.#register.liveCount;
  }

  /** Whether the agent may speak of a session that is not known yet. */
  get isOpening(): boolean {
    return this.#register.hasReservations;
  }

  /** No turn runs or waits, no question is open, the agent holds no work, and no session is on its way. */
  get isQuiet(): boolean {
    return !this.#register.hasReservations && this.all().every((session) => !session.isWorking);
  }

  isDefault(session: Session): boolean {
    return this.#slot.isFilledBy(session);
  }

  find(id: string): Session | undefined {
    return this.#register.find(id);
  }

  /** @throws ApiError 404. */
  get(id: string): Session {
    return this.#register.get(id);
  }

  /** Whether any live session of the workspace knows the client id. */
  knowsClient(clientId: string): boolean {
    return this.all().some((session) => session.clients.has(clientId));
  }

  /**
   * Attaches to the default session or spawns one, by the scope's rules.
   * @param hasLeft whether the caller is gone: then a fresh session that nobody else holds is closed, an attach undone.
   * @throws ApiError 409, 500, 503, 504; see the protocol's session creation.
   */
  async create(
    request: CreateRequest,
    offeredId: string | undefined,
    hasLeft: () => boolean,
  ): Promise<Created> {
    this.checkOpen();
    this.#o.log.info({ scope: request.scope, sessionId: request.sessionId }, 'session requested');
    for (;;) {
      const obtained = await this.#obtain(request);
      // One that was made for this request has taken its wishes before anybody came by it.
      const requested = obtained.isAttached ? request : NO_WISHES;
      const created = await this.join(obtained, requested, offeredId, hasLeft);
      if (created !== undefined) return created;
      if (!obtained.isAttached)
        throw fail('acp_channel_unavailable', 'The session ended before its creation was answered');
      // A shared session may have ended again before this request was attached: then it starts over.
      this.intake.checkNotClosed();
    }
  }

  /**
   * Registers a client in the tick in which the session was seen alive, and then asks of the session what the caller wants
   * besides: one that somebody is registered on does not end meanwhile. A caller that is gone is told of and detached like any
   * other, so that the coordinator ends up with what is left, and changes nothing that others share. One that goes meanwhile,
   * or whose mode is refused, is detached too; but a session that nobody held before stays for a refusal.
   * @returns undefined: the session has ended, perhaps only while it was asked.
   * @throws ApiError: why the mode was refused, or that the agent ended meanwhile.
   */
  async join(
    obtained: Obtained,
    requested: RequestedSettings,
    offeredId: string | undefined,
    hasLeft: () => boolean,
  ): Promise<Created | undefined> {
    const { session } = obtained;
    if (session.hasEnded) return undefined;
    const wasUnheld = obtained.isAttached && !session.isInUse;
    const clientId = session.clients.register(offeredId, `client_${randomUUID()}`, this.#o.clock.nowMs());
    const feedSeq = this.tellSession(session);
    try {
      if (!hasLeft()) await applyRequestedSettings(session, requested, this.#o.log, clientId);
    } catch (error) {
      // What a closed session answers is no answer to the wish.
      if (session.hasEnded && !session.channel.isDying) return undefined;
      if (this.#release(session, clientId) && !wasUnheld) this.autoClose.ifUnused(session);
      throw error;
    }
    if (session.hasEnded) return undefined;
    if (hasLeft()) this.detach(session, clientId);
    return { ...obtained, clientId, feedSeq };
  }

  /** @throws ApiError 503 once the daemon is stopping. */
  checkOpen(): void {
    this.intake.check();
  }

  /** Whether a session is being made under the id. */
  isStarting(id: string): boolean {
    return this.#register.isReserved(id);
  }

  /** A session of the workspace's single slot is being brought back: `single` requests wait for it. */
  reserveSlot(coming: Promise<Session>): void {
    this.#slot.reserve(coming);
  }

  /**
   * Runs what makes the session of this id (or, for ids yet to be chosen, of this place) live. The place is taken before the
   * first await, so that racing spawns see each other.
   * @throws ApiError 503 at the caps.
   */
  async open<T>(place: string, run: (context: SpawnContext) => Promise<T>): Promise<T> {
    this.#register.reserve(place);
    this.#retirement.cancel();
    try {
      await this.sessionCloser.closed(place);
      return await run({
        ...this.#o,
        agent: this.#o.agent(),
        isOtherwiseEmpty: (channel) => this.#register.isFirstOn(channel),
        checkAdmission: (sessionId) => this.#checkAdmission(sessionId),
        register: (session) => this.#admit(session),
        discard: (session) => this.#close(session, 'creation_failed'),
        onMaybeIdle: (session) => this.autoClose.afterWork(session),
        onRenamed: (session) => this.tellSession(session),
        onModelChosen: (value, clientId) =>
          this.broadcast('settings_changed', { key: 'model.name', value }, clientId),
      });
    } finally {
      this.#register.unreserve(place);
      this.#retireIfEmpty();
    }
  }

  /** Records a sign of life. The client id is checked before any timestamp moves. */
  heartbeat(session: Session, clientId: string | undefined): number {
    session.checkClient(clientId);
    const atMs = session.touch(clientId);
    this.#o.noteSeen(session.sessionId, clientId, atMs);
    return atMs;
  }

  /** Applies a client's metadata and tells the coordinator. */
  patchMetadata(session: Session, patch: MetadataPatch, clientId: string | undefined) {
    const current = session.metadata.patch(patch, clientId);
    this.tellSession(session);
    return current;
  }

  /** Publishes a workspace event on every live session's bus, each with its own id. */
  broadcast(type: string, data: Readonly<Record<string, unknown>>, clientId: string | undefined): void {
    for (const session of this.all()) session.bus.publish(type, data, { originatorClientId: clientId });
  }

  /** Releases one registration; unknown ids and ended sessions are ignored. May close the session. */
  detach(session: Session, clientId: string | undefined): void {
    if (clientId !== undefined && this.#release(session, clientId)) this.autoClose.ifUnused(session);
  }

  /** @returns false for an unknown client and an ended session: then there is nothing to tell. */
  #release(session: Session, clientId: string): boolean {
    if (session.hasEnded || !session.clients.unregister(clientId)) return false;
    this.tellSession(session);
    return true;
  }

  /** Closes for a client. */
  close(session: Session, closedBy: string | undefined): void {
    this.#close(session, 'client_close', closedBy === undefined ? {} : { closedBy });
  }

  /** The agent child is gone: every session on it dies with the protocol's crash sequence. */
  agentExited(channel: AgentChannel, exit: AgentExit): void {
    const dead = this.#register.on(channel);
    for (const session of dead) {
      this.#forget(session, 'channel_closed');
      session.agentDied(exit);
    }
    const { code, signal, isPlanned } = exit;
    // An end that the daemon itself wanted is no news for anybody.
    const news = isPlanned ? {} : { exit: { code, signal, sessions: dead.length } };
    this.#o.tell({ type: 'agent', agent: null, ...news });
  }

  /** Ends every session because the daemon ends. */
  stop(): void {
    this.intake.close();
    this.#retirement.cancel();
    for (const session of this.all()) {
      this.#forget(session, 'daemon_shutdown');
      session.daemonStops();
    }
  }

  async #obtain(request: CreateRequest): Promise<Obtained> {
    try {
      if (request.scope === 'single') return await this.#slot.obtain(() => this.#spawn(request));
      return { ...(await this.#spawn(request)), isAttached: false };
    } catch (error) {
      throw error instanceof RequestedSettingRefused ? error.refusal : error;
    }
  }

  async #spawn(request: CreateRequest): Promise<SpawnedSession> {
    if (request.sessionId !== undefined) this.#register.checkFree(request.sessionId);
    return this.open(request.sessionId ?? randomUUID(), (context) => spawnOnAgent(request, context));
  }

  #checkAdmission(sessionId: string): void {
    this.intake.checkNotClosed();
    this.#register.checkNotLive(sessionId);
  }

  #admit(session: Session): void {
    this.#register.add(session);
    this.#o.onRegistered(session);
  }

  #close(session: Session, reason: string, extras: Readonly<Record<string, unknown>> = {}): void {
    if (session.hasEnded) return;
    const wasRunning = session.turns.running !== undefined;
    this.#forget(session, reason);
    session.close(reason, extras);
    const shelved = shelvedAs(session.sessionId, this.#o.ownership.history.find(session.sessionId));
    this.#o.tell({ type: 'shelved', shelved });
    this.sessionCloser.begin(session, wasRunning);
  }

  #forget(session: Session, reason: string): void {
    this.#register.remove(session);
    this.#slot.vacate(session);
    const ended = { sessionId: session.sessionId, reason, atMs: this.#o.clock.nowMs() };
    this.#o.tell({ type: 'session_ended', ended });
    this.#retireIfEmpty();
  }

  /** On the way down the child ends with the daemon. */
  #retireIfEmpty(): void {
    if (this.#register.isEmpty && !this.intake.isClosed) this.#retirement.begin();
  }

  /** Tells the coordinator. @returns the record's seq. */
  tellSession(session: Session): number {
    return this.#o.tell({ type: 'session', session: session.feedSession(this.isDefault(session)) });
  }
}
