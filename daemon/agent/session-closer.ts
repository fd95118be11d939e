// Sessions that have ended here and that the agent is still closing.

import type { Log } from '../contract/log.ts';
import { sessionKey } from '../contract/wire.ts';
import type { AgentChannel } from './agent.ts';
import { closeSession } from './extensions.ts';

interface Ended {
  readonly sessionId: string;
  readonly channel: AgentChannel;
}

export class SessionCloser {
  readonly #timeoutMs: number;
  readonly #log: Log;
  readonly #underWay = new Map<string, Promise<void>>();

  /** @param timeoutMs how long the agent may take to close a session. */
  constructor(timeoutMs: number, log: Log) {
    this.#timeoutMs = timeoutMs;
    this.#log = log;
  }

  /** Lets the agent drop the session. */
  begin(session: Ended, wasRunning: boolean): void {
    const key = sessionKey(session.sessionId);
    const released = this.#release(session, wasRunning);
    this.#underWay.set(key, released);
    void released.then(() => this.#underWay.delete(key));
  }

  /** Resolves when the agent has closed the session, or never had it: only then the id can be opened again. */
  async closed(sessionId: string): Promise<void> {
    await this.#underWay.get(sessionKey(sessionId));
  }

  /** Its failure is nobody's concern any more, but it is logged. */
  async #release({ sessionId, channel }: Ended, wasRunning: boolean): Promise<void> {
    if (channel.isDying) return;
    try {
      if (wasRunning) channel.notify('session/cancel', { sessionId });
      await closeSession(channel, sessionId, this.#timeoutMs);
    } catch (error) {
      this.#log.debug({ err: error, sessionId }, 'the agent did not close its session');
    }
  }
}
