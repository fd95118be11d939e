// Routes the agent's notifications and requests to the sessions that they name.
import {
  AgentCallError,
  type AgentChannel,
  type AgentExit,
  type AgentSink,
  METHOD_NOT_FOUND,
  type Params,
} from '../agent/agent.ts';
import type { Clock } from '../contract/clock.ts';
import { asRecord } from '../contract/json-record.ts';
import { type Log, truncated } from '../contract/log.ts';
import { EarlyEvents } from '../domain/early-events.ts';
import type { Session } from '../session/session.ts';
import type { SessionRegister } from './register.ts';

type RequestHandler = (session: Session | undefined, params: Params) => Promise<unknown>;

const CANCELLED = { outcome: { outcome: 'cancelled' } };

/** The agent's requests about sessions, with their handlers; any other request is answered "method not found". */
const REQUESTS: Readonly<Record<string, RequestHandler>> = {
  'session/request_permission': async (session, params) =>
    session === undefined ? CANCELLED : session.askPermission(params),
  'craft/drainMidTurnQueue': async (session) =>
    session?.turns.drainMidTurn() ?? { messages: [], items: [], hasQueuedPrompt: false },
  '_qwencode/start_turn': async () => ({ accepted: false }),
};

/** A notification of the agent about a session; `method` is undefined for a `session/update`. */
interface EarlyEvent {
  readonly method: string | undefined;
  readonly params: Params;
  readonly json?: string | undefined;
}

export interface AgentEventRouterDeps {
  readonly register: SessionRegister;
  readonly clock: Clock;
  readonly log: Log;
  /** Called when an agent child has ended, after all of its output was routed. */
  readonly onAgentExited: (channel: AgentChannel, exit: AgentExit) => void;
}

export class AgentEventRouter implements AgentSink {
  readonly #register: SessionRegister;
  readonly #deps: AgentEventRouterDeps;
  /** Notifications about sessions that are being opened and not registered yet. */
  readonly #early = new EarlyEvents<EarlyEvent>();
  /** By session id, the receivers of the updates of sessions that the agent is loading. */
  readonly #collectors = new Map<string, (params: Params) => void>();

  constructor(deps: AgentEventRouterDeps) {
    this.#register = deps.register;
    this.#deps = deps;
  }

  update(sessionId: string, params: Params, json?: string): void {
    const collect = this.#collectors.size === 0 ? undefined : this.#collectors.get(sessionId);
    if (collect !== undefined) {
      collect(params);
      return;
    }
    const session = this.#register.find(sessionId);
    if (session === undefined) this.#keep(sessionId, { method: undefined, params, json });
    else session.agentUpdate(params, json);
  }

  /**
   * Gives a session's updates to `onUpdate` instead of to its bus, until the returned function is called: while an agent loads a
   * session, the session's updates replay its past.
   */
  collect(sessionId: string, onUpdate: (params: Params) => void): () => void {
    this.#collectors.set(sessionId, onUpdate);
    return () => this.#collectors.delete(sessionId);
  }

  /** Gives a newly registered session the notifications that came for it before. */
  handOver(session: Session): void {
    for (const event of this.#early.take(session.sessionId)) this.#apply(session, event);
  }

  notification(method: string, params: Params): void {
    if (method === 'qwen/notify/channel/active-work') {
      this.#activeWork(params);
      return;
    }
    if (typeof params.sessionId === 'string') this.#deliver(params.sessionId, { method, params });
    else this.#deps.log.debug({ method }, 'notification from the agent names no session');
  }

  /**
   * Passes the agent's report of background work on to the sessions. The report covers all sessions of the child: a session that
   * the report does not name has no background work.
   */
  #activeWork(params: Params): void {
    const reported = Array.isArray(params.sessions) ? params.sessions.map(asRecord) : [];
    for (const session of this.#register.all()) {
      const work = reported.find(({ sessionId }) => sessionId === session.sessionId)?.holds;
      session.backgroundWorkReported(Array.isArray(work) ? work : []);
    }
  }

  #deliver(sessionId: string, event: EarlyEvent): void {
    const session = this.#register.find(sessionId);
    if (session === undefined) this.#keep(sessionId, event);
    else this.#apply(session, event);
  }

  #keep(sessionId: string, event: EarlyEvent): void {
    const { clock, log } = this.#deps;
    // While no session is being opened, the event is of a session that has ended. Keeping it would be wrong: a later session may
    // get the same id.
    if (!this.#register.hasReservations)
      log.debug({ sessionId: truncated(sessionId) }, 'event for an ended session dropped');
    else if (!this.#early.keep(sessionId, event, clock.nowMs()))
      log.warn({ sessionId: truncated(sessionId) }, 'event for an unknown session dropped');
  }

  #apply(session: Session, { method, params, json }: EarlyEvent): void {
    if (method === undefined) session.agentUpdate(params, json);
    else if (!session.agentNotification(method, params))
      this.#deps.log.debug({ method: truncated(method) }, 'unknown notification from the agent ignored');
  }

  async request(method: string, params: Params): Promise<unknown> {
    const handler = Object.hasOwn(REQUESTS, method) ? REQUESTS[method] : undefined;
    if (handler === undefined) throw new AgentCallError(METHOD_NOT_FOUND, `"Method not found": ${method}`);
    const sessionId = typeof params.sessionId === 'string' ? params.sessionId : '';
    return handler(this.#register.find(sessionId), params);
  }

  exited(channel: AgentChannel, exit: AgentExit): void {
    this.#deps.onAgentExited(channel, exit);
  }
}
