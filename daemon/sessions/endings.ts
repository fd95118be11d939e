// Ends live sessions: for a client, automatically, with the agent child, or with the daemon. Each ended session leaves the
// register and the slot, and is reported on the feed.
import type { AgentChannel, AgentExit } from '../agent/agent.ts';
import type { IdleRetirement } from '../agent/idle-retirement.ts';
import type { SessionCloser } from '../agent/session-closer.ts';
import type { JsonRecord } from '../contract/json-record.ts';
import { type History, shelvedAs } from '../history/history.ts';
import type { Session } from '../session/session.ts';
import type { CoordinatorFeed } from './coordinator-feed.ts';
import type { SessionRegister } from './register.ts';
import type { SessionReporter } from './reporter.ts';
import type { SingleSlot } from './single-slot.ts';

export interface SessionEndingsDeps {
  readonly register: SessionRegister;
  readonly slot: SingleSlot;
  readonly feed: CoordinatorFeed;
  readonly reporter: SessionReporter;
  readonly history: Pick<History, 'find'>;
  readonly closer: SessionCloser;
  readonly retirement: IdleRetirement;
}

export class SessionEndings {
  readonly #deps: SessionEndingsDeps;

  constructor(deps: SessionEndingsDeps) {
    this.#deps = deps;
  }

  /** Closes a session in the daemon and in the agent. Does nothing for a session that has ended. */
  close(session: Session, reason: string, extras: JsonRecord = {}): void {
    if (session.hasEnded) return;
    const { feed, history, closer } = this.#deps;
    const wasRunning = session.turns.running !== undefined;
    this.#leave(session, reason);
    session.close(reason, extras);
    const shelved = shelvedAs(session.sessionId, history.find(session.sessionId));
    feed.publish({ type: 'shelved', shelved });
    closer.begin(session, wasRunning);
  }

  /** Resolves when the agent has closed the session, or never had it: only then can a session be opened under the id again. */
  closed(sessionId: string): Promise<void> {
    return this.#deps.closer.closed(sessionId);
  }

  /** To be called when an agent child has ended: ends every session on it with the crash sequence of the client protocol. */
  agentExited(channel: AgentChannel, exit: AgentExit): void {
    const dead = this.#deps.register.on(channel);
    for (const session of dead) {
      this.#leave(session, 'channel_closed');
      session.agentDied(exit);
    }
    const { code, signal, isPlanned } = exit;
    // Only an exit that the daemon did not decide is news for the coordinator.
    const news = isPlanned ? {} : { exit: { code, signal, sessions: dead.length } };
    this.#deps.feed.publish({ type: 'agent', agent: null, ...news });
  }

  /** Ends every session because the daemon ends. */
  daemonStops(): void {
    this.#deps.retirement.cancel();
    for (const session of this.#deps.register.all()) {
      this.#leave(session, 'daemon_shutdown');
      session.daemonStops();
    }
  }

  #leave(session: Session, reason: string): void {
    const { register, slot, reporter, retirement } = this.#deps;
    register.remove(session);
    slot.vacate(session);
    reporter.ended(session, reason);
    retirement.begin();
  }
}
