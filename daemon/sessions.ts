// The only stateful service: id -> session. Who attaches, what is spawned, when a session ends, and what is told of it.
import { randomUUID } from 'node:crypto';
import type { AgentChannel, AgentExit, AgentHost } from './agent/agent.ts';
import { setTitle } from './agent/extensions.ts';
import type { Clock, Timer } from './contract/clock.ts';
import { fail } from './contract/errors.ts';
import type { FeedBody } from './contract/feed.ts';
import type { Limits } from './contract/limits.ts';
import type { Log } from './contract/log.ts';
import { sessionKey } from './contract/wire.ts';
import type { CreateRequest } from './domain/create-request.ts';
import type { MetadataPatch } from './domain/metadata.ts';
import { checkCap } from './domain/session-caps.ts';
import { Doors } from './doors.ts';
import { shelvedAs } from './history/history.ts';
import type { Pasts } from './history/pasts.ts';
import type { PermissionSettings } from './permissions.ts';
import { Releases } from './releases.ts';
import type { Session } from './session.ts';
import { applyWishes, type SpawnContext, type SpawnedSession, spawnOnAgent } from './spawn.ts';

export interface SessionsOptions {
  /** Canonical path. */
  readonly workspace: string;
  readonly clock: Clock;
  readonly log: Log;
  readonly limits: Limits;
  readonly permissionSettings: PermissionSettings;
  readonly agent: () => AgentHost;
  readonly pasts: Pasts;
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

/** A live session that a caller has come by. */
export type Obtained = SpawnedSession & { readonly isAttached: boolean };

export class Sessions {
  readonly doors = new Doors();
  readonly releases: Releases;
  readonly #o: SessionsOptions;
  readonly #byId = new Map<string, Session>();
  /** Ids of spawns under way; chosen ids are taken from the first moment. */
  readonly #spawning = new Set<string>();
  #defaultId: string | undefined;
  /**
   * The one spawn or restore that fills the single slot, shared by every `single` request that comes meanwhile. Undefined
   * from a restore that failed: then whoever waited for it spawns afresh.
   */
  #defaultSpawn: Promise<Session | undefined> | undefined;
  #retirement: Timer | undefined;

  constructor(options: SessionsOptions) {
    this.#o = options;
    this.releases = new Releases(options.limits.initializeTimeoutMs, options.log);
  }

  all(): readonly Session[] {
    return [...this.#byId.values()];
  }

  get liveCount(): number {
    return this.#byId.size;
  }

  /** Whether the agent may speak of a session that is not known yet. */
  get isOpeningOne(): boolean {
    return this.#spawning.size > 0;
  }

  /** No turn runs or waits, and no question is open. */
  get isQuiet(): boolean {
    return this.all().every(({ turns, permissions }) => turns.isIdle && permissions.openCount === 0);
  }

  isDefault(session: Session): boolean {
    return session.sessionId === this.#defaultId;
  }

  find(id: string): Session | undefined {
    return this.#byId.get(id) ?? this.#byId.get(sessionKey(id));
  }

  /** @throws ApiError 404. */
  get(id: string): Session {
    const session = this.find(id);
    if (session === undefined)
      throw fail('session_not_found', 'No such session', { sessionId: sessionKey(id) });
    return session;
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
    this.#o.log.info({ scope: request.scope, sessionId: request.sessionId }, 'session asked for');
    for (;;) {
      const obtained = request.scope === 'single' ? await this.#single(request) : await this.#fresh(request);
      if (!obtained.session.hasEnded) return this.#joinAs(request, obtained, offeredId, hasLeft);
      if (!obtained.isAttached)
        throw fail('acp_channel_unavailable', 'The session ended before its creation was answered');
      // A shared session may have ended again before this request came to attach: then it starts over.
    }
  }

  /**
   * Registers a client in the tick in which the session was seen alive. A caller that is gone is told of and detached like
   * any other, so that the coordinator ends up with what is left.
   */
  join(obtained: Obtained, offeredId: string | undefined, hasLeft: () => boolean): Created {
    const { session } = obtained;
    const clientId = session.clients.register(offeredId, `client_${randomUUID()}`, this.#o.clock.nowMs());
    const feedSeq = this.tellSession(session);
    if (hasLeft()) this.detach(session, clientId);
    return { ...obtained, clientId, feedSeq };
  }

  /** @throws ApiError 503 once the daemon is stopping. */
  checkOpen(): void {
    this.doors.check();
  }

  /** Whether a session is being made under the id. */
  isStarting(id: string): boolean {
    return this.#spawning.has(sessionKey(id));
  }

  /** A session of the workspace's single slot is being brought back: `single` requests wait for it. */
  holdSlot(coming: Promise<Session>): void {
    if (this.#defaultId !== undefined || this.#defaultSpawn !== undefined) return;
    const held = coming.then(
      (session) => {
        if (!session.hasEnded) this.#defaultId = session.sessionId;
        return session;
      },
      () => undefined,
    );
    this.#defaultSpawn = held;
    void held.finally(() => {
      if (this.#defaultSpawn === held) this.#defaultSpawn = undefined;
    });
  }

  /**
   * Runs what makes the session of this id (or, for ids yet to be chosen, of this place) live. The place is taken before the
   * first await, so that racing spawns see each other.
   * @throws ApiError 503 at the caps.
   */
  async open<T>(place: string, run: (context: SpawnContext) => Promise<T>): Promise<T> {
    const { limits } = this.#o;
    checkCap(this.#byId.size + this.#spawning.size, limits.maxSessions, 'workspace');
    checkCap(this.#byId.size + this.#spawning.size, limits.maxTotalSessions, 'total');
    this.#spawning.add(place);
    this.#retirement?.cancel();
    try {
      await this.releases.over(place);
      return await run({
        ...this.#o,
        agent: this.#o.agent(),
        isOtherwiseEmpty: (channel) =>
          this.#spawning.size === 1 && !this.all().some((session) => session.channel === channel),
        register: (session) => this.#register(session),
        onMaybeIdle: (session) => this.#afterTurn(session),
        onRenamed: (session) => this.tellSession(session),
      });
    } finally {
      this.#spawning.delete(place);
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

  /** Applies a client's metadata and tells the coordinator. The agent hears of a name too, where it can. */
  patchMetadata(session: Session, patch: MetadataPatch, clientId: string | undefined) {
    const current = session.patchMetadata(patch, clientId);
    this.tellSession(session);
    if (patch.displayName !== undefined) void this.#titleOnAgent(session, patch.displayName);
    return current;
  }

  /** Publishes a workspace event on every live session's bus, each with its own id. */
  broadcast(type: string, data: Readonly<Record<string, unknown>>, clientId: string | undefined): void {
    for (const session of this.all()) session.bus.publish(type, data, { originatorClientId: clientId });
  }

  /** Releases one registration; unknown ids are ignored. May close the session. */
  detach(session: Session, clientId: string | undefined): void {
    if (clientId === undefined || !session.clients.release(clientId)) return;
    this.tellSession(session);
    this.closeIfUnheld(session);
  }

  /** Closes for a client. */
  close(session: Session, closedBy: string | undefined): void {
    this.#close(session, 'client_close', closedBy === undefined ? {} : { closedBy });
  }

  /** The auto-close rule: nobody is registered and nothing holds the session. */
  closeIfUnheld(session: Session): void {
    // One that the coordinator brought back lives until a client has come for it and gone again.
    if (!session.hasEnded && !session.isHeld && session.clients.hasRegistered)
      this.#close(session, 'last_client_detached');
  }

  /** Closes sessions without readers, work and signs of life for the configured time. */
  closeIdle(): void {
    const { limits, clock } = this.#o;
    if (limits.sessionIdleTimeoutMs === 0) return;
    for (const session of this.all()) {
      const idleMs = clock.nowMs() - session.lastActivityAtMs;
      const isQuiet =
        session.bus.readerCount === 0 &&
        session.turns.isIdle &&
        session.permissions.openCount === 0 &&
        !session.hasAgentWork;
      if (isQuiet && idleMs >= limits.sessionIdleTimeoutMs) this.#close(session, 'idle_timeout');
    }
  }

  /** The agent child is gone: every session on it dies with the protocol's crash sequence. */
  agentExited(channel: AgentChannel, exit: AgentExit): void {
    const dead = this.all().filter((session) => session.channel === channel);
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
    this.doors.close();
    this.#retirement?.cancel();
    for (const session of this.all()) {
      this.#forget(session, 'daemon_shutdown');
      session.daemonStops();
    }
  }

  /** Joins first: a session that somebody is registered on does not end while it takes the caller's wishes. */
  async #joinAs(
    request: CreateRequest,
    obtained: Obtained,
    offeredId: string | undefined,
    hasLeft: () => boolean,
  ): Promise<Created> {
    const created = this.join(obtained, offeredId, hasLeft);
    if (created.isAttached) await applyWishes(created.session, request, this.#o.log, created.clientId);
    return created;
  }

  async #single(request: CreateRequest): Promise<Obtained> {
    const live = this.#defaultId === undefined ? undefined : this.#byId.get(this.#defaultId);
    if (live?.channel.isDying === false)
      return { session: live, isAttached: true, isModelApplied: undefined };
    if (this.#defaultSpawn !== undefined) {
      const session = await this.#defaultSpawn;
      return session === undefined
        ? this.#single(request)
        : { session, isAttached: true, isModelApplied: undefined };
    }
    const spawn = this.#spawn(request);
    this.#defaultSpawn = spawn.then(({ session }) => session);
    // The others that wait see the same rejection; this guard only keeps a lone one from being unhandled.
    this.#defaultSpawn.catch(() => undefined);
    try {
      const spawned = await spawn;
      this.#defaultId = spawned.session.sessionId;
      return { ...spawned, isAttached: false };
    } finally {
      this.#defaultSpawn = undefined;
    }
  }

  async #fresh(request: CreateRequest): Promise<Obtained> {
    return { ...(await this.#spawn(request)), isAttached: false };
  }

  async #spawn(request: CreateRequest): Promise<SpawnedSession> {
    this.#checkFree(request.sessionId);
    return this.open(request.sessionId ?? randomUUID(), (context) => spawnOnAgent(request, context));
  }

  #checkFree(chosenId: string | undefined): void {
    if (chosenId === undefined) return;
    const isLive = this.#byId.has(chosenId);
    if (!isLive && !this.#spawning.has(chosenId)) return;
    throw fail('session_id_conflict', 'The session id is in use', {
      sessionId: chosenId,
      conflict: isLive ? 'live' : 'starting',
      ...(isLive ? { liveWorkspaceCwd: this.#o.workspace } : {}),
    });
  }

  #register(session: Session): void {
    this.doors.check();
    if (this.#byId.has(session.sessionId))
      throw fail('session_id_conflict', 'The agent gave out a session id twice', {
        sessionId: session.sessionId,
        conflict: 'live',
      });
    this.#byId.set(session.sessionId, session);
    this.#o.onRegistered(session);
  }

  #afterTurn(session: Session): void {
    const graceMs = this.#o.limits.sessionPromptSettledCloseGraceMs;
    if (graceMs === 0) this.closeIfUnheld(session);
    else this.#o.clock.after(graceMs, () => this.closeIfUnheld(session));
  }

  #close(session: Session, reason: string, extras: Readonly<Record<string, unknown>> = {}): void {
    if (session.hasEnded) return;
    const wasRunning = session.turns.running !== undefined;
    this.#forget(session, reason);
    session.close(reason, extras);
    const shelved = shelvedAs(session.sessionId, this.#o.pasts.history.find(session.sessionId));
    this.#o.tell({ type: 'shelved', shelved });
    this.releases.begin(session, wasRunning);
  }

  async #titleOnAgent({ sessionId, channel }: Session, displayName: string): Promise<void> {
    try {
      await setTitle(channel, sessionId, displayName, this.#o.limits.initializeTimeoutMs);
    } catch (error) {
      this.#o.log.warn({ err: error, sessionId }, 'the agent did not take the title');
    }
  }

  #forget(session: Session, reason: string): void {
    this.#byId.delete(session.sessionId);
    if (this.#defaultId === session.sessionId) this.#defaultId = undefined;
    const ended = { sessionId: session.sessionId, reason, atMs: this.#o.clock.nowMs() };
    this.#o.tell({ type: 'session_ended', ended });
    this.#retireIfEmpty();
  }

  /** An agent child without sessions is let go after the idle time. */
  #retireIfEmpty(): void {
    if (this.#byId.size + this.#spawning.size > 0 || !this.doors.isOpen) return;
    this.#retirement?.cancel();
    const { channelIdleTimeoutMs, channelReuseMs } = this.#o.limits;
    this.#retirement = this.#o.clock.after(Math.max(channelIdleTimeoutMs, channelReuseMs), () => {
      const channel = this.#o.agent().current();
      if (this.#byId.size + this.#spawning.size > 0 || channel === undefined) return;
      void this.#o.agent().retire(channel);
    });
  }

  /** Tells the coordinator. @returns the record's seq. */
  tellSession(session: Session): number {
    return this.#o.tell({ type: 'session', session: session.feedSession(this.isDefault(session)) });
  }
}
