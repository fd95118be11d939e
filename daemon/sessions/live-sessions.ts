// The live sessions of the workspace, as HTTP routes, catalog and restores use them: finding and creating sessions, attaching and
// detaching clients, closing sessions.
import { randomUUID } from 'node:crypto';
import { fail } from '../contract/errors.ts';
import type { Log } from '../contract/log.ts';
import type { CreateRequest } from '../domain/create-request.ts';
import type { MetadataPatch } from '../domain/metadata.ts';
import { RequestedSettingRefused, type RequestedSettings } from '../session/requested-settings.ts';
import type { Session } from '../session/session.ts';
import type { Attachments, JoinedSession } from './attachments.ts';
import type { SessionSpawner } from './create.ts';
import type { SessionEndings } from './endings.ts';
import type { Intake } from './intake.ts';
import type { ObtainedSession, SpawnedSession } from './obtained.ts';
import type { SessionRegister } from './register.ts';
import type { SessionReporter } from './reporter.ts';
import type { SingleSlot } from './single-slot.ts';

export interface LiveSessionsDeps {
  readonly register: SessionRegister;
  readonly slot: SingleSlot;
  readonly intake: Intake;
  readonly spawner: SessionSpawner;
  readonly attachments: Attachments;
  readonly endings: SessionEndings;
  readonly reporter: SessionReporter;
  readonly log: Log;
}

const NO_SETTINGS: RequestedSettings = { approvalMode: undefined, modelId: undefined };

export class LiveSessions {
  readonly intake: Intake;
  readonly #deps: LiveSessionsDeps;

  constructor(deps: LiveSessionsDeps) {
    this.intake = deps.intake;
    this.#deps = deps;
  }

  all(): readonly Session[] {
    return this.#deps.register.all();
  }

  get liveCount(): number {
    return this.#deps.register.liveCount;
  }

  /**
   * True when no turn runs or waits, no permission question is open, the agent has no background work, and no session is being
   * opened.
   */
  get isQuiet(): boolean {
    return !this.#deps.register.hasReservations && this.all().every((session) => !session.isWorking);
  }

  find(id: string): Session | undefined {
    return this.#deps.register.find(id);
  }

  /** The live session with this id. @throws ApiError 404. */
  get(id: string): Session {
    return this.#deps.register.get(id);
  }

  /** Whether a create or restore is opening a session under the id. */
  isStarting(id: string): boolean {
    return this.#deps.register.isReserved(id);
  }

  /** Whether the client id is registered on any live session of the workspace. */
  knowsClient(clientId: string): boolean {
    return this.all().some((session) => session.clients.has(clientId));
  }

  /**
   * Attaches to the default session or spawns a session, by the rules of the request's scope.
   * @param hasLeft whether the client is gone: then a fresh session that is not otherwise in use is closed, an attach undone.
   * @throws ApiError 409, 500, 503, 504; see the protocol's session creation.
   */
  async create(
    request: CreateRequest,
    offeredId: string | undefined,
    hasLeft: () => boolean,
  ): Promise<JoinedSession> {
    this.intake.check();
    this.#deps.log.info({ scope: request.scope, sessionId: request.sessionId }, 'session requested');
    for (;;) {
      const obtained = await this.#obtain(request);
      // The settings of a session that was spawned for this request were applied before another request could share the session.
      const requested = obtained.isAttached ? request : NO_SETTINGS;
      const joined = await this.#deps.attachments.join(obtained, requested, offeredId, hasLeft);
      if (joined !== undefined) return joined;
      if (!obtained.isAttached)
        throw fail('acp_channel_unavailable', 'The session ended before its creation was answered');
      // The shared session ended before this request was attached to it: the request starts over.
      this.intake.checkNotClosed();
    }
  }

  /** Records a client's heartbeat; checks the client id before any timestamp changes. @returns the recorded time, epoch ms. */
  heartbeat(session: Session, clientId: string | undefined): number {
    session.checkClient(clientId);
    const atMs = session.touch(clientId);
    this.#deps.reporter.seen(session, clientId, atMs);
    return atMs;
  }

  /** Applies a client's change of name or pull requests and reports the session. @returns both as they are now. */
  patchMetadata(session: Session, patch: MetadataPatch, clientId: string | undefined) {
    const current = session.metadata.patch(patch, clientId);
    this.#deps.reporter.report(session);
    return current;
  }

  /** Removes a client's registration; ignores unknown ids and ended sessions. Closes the session if it is unused then. */
  detach(session: Session, clientId: string | undefined): void {
    this.#deps.attachments.detach(session, clientId);
  }

  /** Closes a session for a client. @param closedBy the client's id; undefined for an anonymous client. */
  close(session: Session, closedBy: string | undefined): void {
    this.#deps.endings.close(session, 'client_close', closedBy === undefined ? {} : { closedBy });
  }

  /** Resolves when the agent has closed the session, or never had it. */
  closed(sessionId: string): Promise<void> {
    return this.#deps.endings.closed(sessionId);
  }

  /** Takes no new work from now on and ends every session, because the daemon ends. */
  stop(): void {
    this.intake.close();
    this.#deps.endings.daemonStops();
  }

  async #obtain(request: CreateRequest): Promise<ObtainedSession> {
    try {
      if (request.scope === 'single') return await this.#deps.slot.obtain(() => this.#spawn(request));
      return { ...(await this.#spawn(request)), isAttached: false };
    } catch (error) {
      throw error instanceof RequestedSettingRefused ? error.refusal : error;
    }
  }

  async #spawn(request: CreateRequest): Promise<SpawnedSession> {
    if (request.sessionId !== undefined) this.#deps.register.checkFree(request.sessionId);
    return this.#deps.spawner.spawn(request.sessionId ?? randomUUID(), request);
  }
}
