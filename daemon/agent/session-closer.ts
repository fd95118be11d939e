// Closes in the agent the sessions that have ended in the daemon, and knows which of them the agent is still closing.

import type { Log } from '../contract/log.ts';
import { sessionKey } from '../contract/wire.ts';
import type { AgentChannel } from './agent.ts';
import { closeSession } from './extensions.ts';

interface EndedSession {
  readonly sessionId: string;
  readonly channel: AgentChannel;
}

export class SessionCloser {
  readonly #timeoutMs: number;
  readonly #log: Log;
  /** The closings that the agent has not finished, by the lookup form of the session's id. */
  readonly #underWay = new Map<string, Promise<void>>();

  /** @param timeoutMs how long the agent may take to close a session. */
  constructor(timeoutMs: number, log: Log) {
    this.#timeoutMs = timeoutMs;
    this.#log = log;
  }

  /**
   * Has the agent close the session.
   * @param wasRunning whether a turn ran when the session ended: then the turn is cancelled first.
   */
  begin(session: EndedSession, wasRunning: boolean): void {
    const key = sessionKey(session.sessionId);
    const closed = this.#close(session, wasRunning);
    this.#underWay.set(key, closed);
    void closed.then(() => this.#underWay.delete(key));
  }

  /**
   * Resolves when the agent has closed the session or has failed to, at once for a session that is not being closed: only then
   * can a session be opened under the id again.
   */
  async closed(sessionId: string): Promise<void> {
    await this.#underWay.get(sessionKey(sessionId));
  }

  /**
   * Asks the agent to close the session. Never rejects: for its clients the session is over, so the agent's failure is only
   * logged.
   */
  async #close({ sessionId, channel }: EndedSession, wasRunning: boolean): Promise<void> {
    if (channel.isDying) return;
    try {
      if (wasRunning) channel.notify('session/cancel', { sessionId });
      await closeSession(channel, sessionId, this.#timeoutMs);
    } catch (error) {
      this.#log.debug({ err: error, sessionId }, 'the agent did not close its session');
    }
  }
}
