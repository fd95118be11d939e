// The steps that creating and restoring a session share: reserving the id, starting the agent, registering the session. The calls
// to the agent in between differ: create.ts has them for a new session, restore/restore-session.ts for a restore.
import type { AgentChannel, AgentHost } from '../agent/agent.ts';
import { channelFailure } from '../agent/failures.ts';
import type { IdleRetirement } from '../agent/idle-retirement.ts';
import type { Session } from '../session/session.ts';
import type { AgentEventRouter } from './agent-event-router.ts';
import type { CoordinatorFeed } from './coordinator-feed.ts';
import type { SessionEndings } from './endings.ts';
import type { Intake } from './intake.ts';
import type { SessionRegister } from './register.ts';

export interface SessionOpenerDeps {
  readonly register: SessionRegister;
  readonly intake: Intake;
  readonly agent: Pick<AgentHost, 'channel' | 'retire'>;
  readonly retirement: IdleRetirement;
  readonly router: Pick<AgentEventRouter, 'handOver'>;
  readonly feed: CoordinatorFeed;
  readonly endings: SessionEndings;
}

export class SessionOpener {
  readonly #deps: SessionOpenerDeps;

  constructor(deps: SessionOpenerDeps) {
    this.#deps = deps;
  }

  /**
   * Runs `open`, which makes the session of this id live, once the agent has closed any earlier session of the id. Reserves the
   * id before the first await, so that racing requests see each other.
   * @param id the session's id; where the agent has yet to choose that, any string that is no session's id.
   * @throws ApiError 503 at the caps; whatever `open` throws.
   */
  async open<T>(id: string, open: () => Promise<T>): Promise<T> {
    const { register, retirement, endings } = this.#deps;
    register.reserve(id);
    retirement.cancel();
    try {
      await endings.closed(id);
      return await open();
    } finally {
      register.unreserve(id);
      retirement.begin();
    }
  }

  /**
   * The agent's channel, started if need be, and reported on the feed.
   * @throws ApiError: the agent's failures in the client protocol's terms.
   */
  async channel(): Promise<AgentChannel> {
    const { agent, feed } = this.#deps;
    try {
      const channel = await agent.channel();
      feed.publish({ type: 'agent', agent: channel.process });
      return channel;
    } catch (error) {
      throw channelFailure(error, 'channel.initialize');
    }
  }

  /** Ends the agent child after a failed call, if no session lives on it and no other session is being opened. */
  retireIfOtherwiseUnused(channel: AgentChannel): void {
    const { register, agent } = this.#deps;
    if (register.isFirstOn(channel)) void agent.retire(channel);
  }

  /**
   * Checks that a session of this id may be registered. To be called in the tick of `register`, before the session's transcript
   * is begun: only a registered session closes its transcript.
   * @throws ApiError 409 for an id that is live, 503 once the intake is closed.
   */
  checkMayRegister(sessionId: string): void {
    this.#deps.intake.checkNotClosed();
    this.#deps.register.checkNotLive(sessionId);
  }

  /**
   * Makes the session live, and gives it the agent's notifications that came before. `checkMayRegister` has passed in this tick.
   */
  register(session: Session): void {
    this.#deps.register.add(session);
    this.#deps.router.handOver(session);
  }

  /** Closes a registered session whose creation has failed. */
  discard(session: Session): void {
    this.#deps.endings.close(session, 'creation_failed');
  }
}
