// Routes the agent's notifications and requests to the sessions that they are about.
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

/** Requests that the bridge answers; everything else is "method not found". */
const REQUESTS: Readonly<Record<string, RequestHandler>> = {
  'session/request_permission': async (session, params) =>
    session === undefined ? CANCELLED : session.askPermission(params),
  'craft/drainMidTurnQueue': async (session) =>
    session?.turns.drainMidTurn() ?? { messages: [], items: [], hasQueuedPrompt: false },
  '_qwencode/start_turn': async () => ({ accepted: false }),
};

/** A notification about a session; a `session/update` when `method` is undefined. */
interface EarlyEvent {
  readonly method: string | undefined;
  readonly params: Params;
  readonly json?: string | undefined;
}

export interface AgentEventRouterDeps {
  readonly register: SessionRegister;
  readonly clock: Clock;
  readonly log: Log;
  /** Called when an agent child is gone, after all of its output was routed. */
  readonly onAgentExited: (channel: AgentChannel, exit: AgentExit) => void;
}

export class AgentEventRouter implements AgentSink {
  readonly #register: SessionRegister;
  readonly #deps: AgentEventRouterDeps;
  /** Events of sessions that are being opened and not registered yet. */
  readonly #early = new EarlyEvents<EarlyEvent>();
  /** Receivers of the updates of sessions that the agent is loading. */
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
   * session, its updates replay the session's past.
   */
  collect(sessionId: string, onUpdate: (params: Params) => void): () => void {
    this.#collectors.set(sessionId, onUpdate);
    return () => this.#collectors.delete(sessionId);
  }

  /** Hands the events that came before the session was registered over to it. */
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

  /** One report covers all sessions of the child: a session that it does not name has no background work. */
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
    // While no session is being opened, the event is a late one of an ended session. A later session may get the same id.
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
