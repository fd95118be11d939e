// Takes what the agent says on its own to the session that it belongs to. One table each for notifications and requests.
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
import type { LiveSessions } from './live-sessions.ts';

type RequestHandler = (session: Session | undefined, params: Params) => Promise<unknown>;

const CANCELLED = { outcome: { outcome: 'cancelled' } };

/** Requests that the bridge answers; everything else is "method not found". */
const REQUESTS: Readonly<Record<string, RequestHandler>> = {
  'session/request_permission': async (session, params) =>
    session === undefined ? CANCELLED : session.permissions.ask(params),
  'craft/drainMidTurnQueue': async (session) =>
    session?.turns.drainMidTurn() ?? { messages: [], items: [], hasQueuedPrompt: false },
  '_qwencode/start_turn': async () => ({ accepted: false }),
};

/** Something said about a session; `session/update` when `method` is undefined. */
interface EarlyEvent {
  readonly method: string | undefined;
  readonly params: Params;
  readonly json?: string | undefined;
}

export class AgentEventRouter implements AgentSink {
  readonly #sessions: LiveSessions;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #early = new EarlyEvents<EarlyEvent>();
  /** Sessions whose past the agent is telling. */
  readonly #collectors = new Map<string, (params: Params) => void>();

  constructor(sessions: LiveSessions, clock: Clock, log: Log) {
    this.#sessions = sessions;
    this.#clock = clock;
    this.#log = log;
  }

  update(sessionId: string, params: Params, json?: string): void {
    const collect = this.#collectors.size === 0 ? undefined : this.#collectors.get(sessionId);
    if (collect !== undefined) {
      collect(params);
      return;
    }
    const session = this.#sessions.find(sessionId);
    if (session === undefined) this.#keep(sessionId, { method: undefined, params, json });
    else session.agentUpdate(params, json);
  }

  /**
   * Gives a session's updates to `onUpdate` instead of to its bus, until the returned function is called: while an agent
   * loads a session, it tells the past.
   */
  collect(sessionId: string, onUpdate: (params: Params) => void): () => void {
    this.#collectors.set(sessionId, onUpdate);
    return () => this.#collectors.delete(sessionId);
  }

  /** Hands over what came before the session was known. */
  adopt(session: Session): void {
    for (const event of this.#early.take(session.sessionId)) this.#apply(session, event);
  }

  notification(method: string, params: Params): void {
    if (method === 'qwen/notify/channel/active-work') {
      this.#activeWork(params);
      return;
    }
    if (typeof params.sessionId === 'string') this.#deliver(params.sessionId, { method, params });
    else this.#log.debug({ method }, 'notification from the agent names no session');
  }

  /** One report over all sessions of the child: a session that it does not name holds nothing. */
  #activeWork(params: Params): void {
    const reported = Array.isArray(params.sessions) ? params.sessions.map(asRecord) : [];
    for (const session of this.#sessions.all()) {
      const holds = reported.find(({ sessionId }) => sessionId === session.sessionId)?.holds;
      session.backgroundWorkReported(Array.isArray(holds) ? holds : []);
    }
  }

  #deliver(sessionId: string, event: EarlyEvent): void {
    const session = this.#sessions.find(sessionId);
    if (session === undefined) this.#keep(sessionId, event);
    else this.#apply(session, event);
  }

  #keep(sessionId: string, event: EarlyEvent): void {
    // While none is on its way, it is the tail of a session that ended: a later one may get the same id.
    if (!this.#sessions.isOpening)
      this.#log.debug({ sessionId: truncated(sessionId) }, 'event for an ended session dropped');
    else if (!this.#early.keep(sessionId, event, this.#clock.nowMs()))
      this.#log.warn({ sessionId: truncated(sessionId) }, 'event for an unknown session dropped');
  }

  #apply(session: Session, { method, params, json }: EarlyEvent): void {
    if (method === undefined) session.agentUpdate(params, json);
    else if (!session.agentNotification(method, params))
      this.#log.debug({ method: truncated(method) }, 'unknown notification from the agent ignored');
  }

  async request(method: string, params: Params): Promise<unknown> {
    const handler = Object.hasOwn(REQUESTS, method) ? REQUESTS[method] : undefined;
    if (handler === undefined) throw new AgentCallError(METHOD_NOT_FOUND, `"Method not found": ${method}`);
    const sessionId = typeof params.sessionId === 'string' ? params.sessionId : '';
    return handler(this.#sessions.find(sessionId), params);
  }

  exited(channel: AgentChannel, exit: AgentExit): void {
    this.#sessions.agentExited(channel, exit);
  }
}
