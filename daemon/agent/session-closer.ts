// Closes sessions in the agent that have ended here, and knows which of them the agent is still closing.

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
  /** By the id's lookup form. */
  readonly #underWay = new Map<string, Promise<void>>();

  /** @param timeoutMs how long the agent may take to close a session. */
  constructor(timeoutMs: number, log: Log) {
    this.#timeoutMs = timeoutMs;
    this.#log = log;
  }

  /** Has the agent close the session. @param wasRunning whether a turn ran at its end: then that is cancelled first. */
  begin(session: EndedSession, wasRunning: boolean): void {
    const key = sessionKey(session.sessionId);
    const closed = this.#close(session, wasRunning);
    this.#underWay.set(key, closed);
    void closed.then(() => this.#underWay.delete(key));
  }

  /** Resolves when the agent has closed the session, or never had it: only then the id can be opened again. */
  async closed(sessionId: string): Promise<void> {
    await this.#underWay.get(sessionKey(sessionId));
  }

  /** Never rejects: the session has ended for its clients, so a failure is only logged. */
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
