// Takes what the agent says on its own to the session that it belongs to. One table each for notifications and requests.
import {
  AgentCallError,
  type AgentChannel,
  type AgentExit,
  type AgentSink,
  METHOD_NOT_FOUND,
  type Params,
} from './agent/agent.ts';
import type { Clock } from './contract/clock.ts';
import type { Log } from './contract/log.ts';
import { EarlyEvents } from './domain/early-events.ts';
import type { Session } from './session.ts';
import type { Sessions } from './sessions.ts';

type RequestHandler = (session: Session | undefined, params: Params) => Promise<unknown>;

const CANCELLED = { outcome: { outcome: 'cancelled' } };

/** Requests that the bridge answers; everything else is "method not found". */
const REQUESTS: Readonly<Record<string, RequestHandler>> = {
  'session/request_permission': async (session, params) =>
    session === undefined ? CANCELLED : session.permissions.ask(params),
  '_qwencode/start_turn': async () => ({ accepted: false }),
};

export class SessionSink implements AgentSink {
  readonly #sessions: Sessions;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #early = new EarlyEvents<Params>();

  constructor(sessions: Sessions, clock: Clock, log: Log) {
    this.#sessions = sessions;
    this.#clock = clock;
    this.#log = log;
  }

  update(sessionId: string, params: Params): void {
    const session = this.#sessions.find(sessionId);
    if (session !== undefined) session.agentUpdate(params);
    else if (!this.#early.keep(sessionId, params, this.#clock.nowMs()))
      this.#log.warn({ sessionId }, 'update for an unknown session dropped');
  }

  /** Hands over what came before the session was known. */
  adopt(session: Session): void {
    for (const params of this.#early.take(session.sessionId)) session.agentUpdate(params);
  }

  notification(method: string, _params: Params): void {
    this.#log.debug({ method }, 'notification of the agent has no handler');
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
