// The register of sessions: the live sessions by id, and the ids reserved for sessions that are being opened. A reservation
// counts from the first moment, so that racing requests see each other. Does not make or end sessions itself.
import type { AgentChannel } from '../agent/agent.ts';
import { fail } from '../contract/errors.ts';
import type { Limits } from '../contract/limits.ts';
import { sessionKey } from '../contract/wire.ts';
import { checkCap } from '../domain/session-caps.ts';
import type { Session } from '../session/session.ts';

export class SessionRegister {
  readonly #limits: Pick<Limits, 'maxSessions' | 'maxTotalSessions'>;
  /** The live sessions by the lookup form of the id, because each agent has its own spelling of ids. */
  readonly #live = new Map<string, Session>();
  /** Ids of the sessions that are being opened; a stand-in string where the agent has yet to choose the id. */
  readonly #reserved = new Set<string>();

  constructor(limits: Pick<Limits, 'maxSessions' | 'maxTotalSessions'>) {
    this.#limits = limits;
  }

  all(): readonly Session[] {
    return [...this.#live.values()];
  }

  /** The live sessions on one agent child. */
  on(channel: AgentChannel): readonly Session[] {
    return this.all().filter((session) => session.channel === channel);
  }

  get liveCount(): number {
    return this.#live.size;
  }

  /** Whether a session is being opened: then the agent may send notifications about a session that is not registered yet. */
  get hasReservations(): boolean {
    return this.#reserved.size > 0;
  }

  /** True when no session is live or being opened. */
  get isEmpty(): boolean {
    return this.#live.size + this.#reserved.size === 0;
  }

  /** Whether exactly one session is being opened, and no session is live on the channel. */
  isFirstOn(channel: AgentChannel): boolean {
    return this.#reserved.size === 1 && this.on(channel).length === 0;
  }

  /**
   * The live session with this id in any spelling. Looks the unchanged id up first: every update of the agent comes through here,
   * mostly with the lookup form.
   */
  find(id: string): Session | undefined {
    return this.#live.get(id) ?? this.#live.get(sessionKey(id));
  }

  /** The live session with this id. @throws ApiError 404. */
  get(id: string): Session {
    const session = this.find(id);
    if (session === undefined)
      throw fail('session_not_found', 'No such session', { sessionId: sessionKey(id) });
    return session;
  }

  isReserved(id: string): boolean {
    return this.#reserved.has(sessionKey(id));
  }

  /** Checks an id that a client chose for a new session. @throws ApiError 409 when the id is live or reserved. */
  checkFree(chosenId: string): void {
    const live = this.#live.get(chosenId);
    if (live === undefined && !this.#reserved.has(chosenId)) return;
    throw fail('session_id_conflict', 'The session id is in use', {
      sessionId: chosenId,
      conflict: live === undefined ? 'starting' : 'live',
      ...(live === undefined ? {} : { liveWorkspaceCwd: live.workspaceCwd }),
    });
  }

  /**
   * Reserves an id until `unreserve`, which must follow whether a session came of the id or not.
   * @throws ApiError 503 at the caps.
   */
  reserve(id: string): void {
    const used = this.#live.size + this.#reserved.size;
    checkCap(used, this.#limits.maxSessions, 'workspace');
    checkCap(used, this.#limits.maxTotalSessions, 'total');
    this.#reserved.add(id);
  }

  unreserve(id: string): void {
    this.#reserved.delete(id);
  }

  /** Checks an id that the agent gave to a session. @throws ApiError 409 when the id is live already. */
  checkNotLive(sessionId: string): void {
    if (!this.#live.has(sessionKey(sessionId))) return;
    throw fail('session_id_conflict', 'The agent issued the same session id twice', {
      sessionId,
      conflict: 'live',
    });
  }

  /** Adds a live session, whose id has passed `checkNotLive` in this tick. */
  add(session: Session): void {
    this.#live.set(sessionKey(session.sessionId), session);
  }

  remove({ sessionId }: Session): void {
    this.#live.delete(sessionKey(sessionId));
  }
}
