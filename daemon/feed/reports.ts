// What the daemon tells its coordinator of itself as a whole, in one tick: everything there is, and the numbers of a beat.
import type { AgentHost } from '../agent/agent.ts';
import type { Clock } from '../contract/clock.ts';
import type { FeedBeat } from '../contract/feed.ts';
import { CONTRACT_VERSION } from '../contract/handshake.ts';
import { rssBytesOfGroup } from '../contract/proc.ts';
import type { Session } from '../session/session.ts';
import type { LiveSessions } from '../sessions/live-sessions.ts';
import type { FeedPublisherOptions } from './publisher.ts';

export interface FeedReportsOptions {
  /** Empty where no coordinator started the daemon. */
  readonly incarnation: string;
  readonly version: string;
  readonly sessions: LiveSessions;
  readonly agent: AgentHost;
  readonly clock: Clock;
  /** Epoch ms; null before the first. */
  readonly lastActivityAtMs: () => number | null;
}

export class FeedReports {
  readonly #o: FeedReportsOptions;

  constructor(options: FeedReportsOptions) {
    this.#o = options;
  }

  snapshot(): ReturnType<FeedPublisherOptions['snapshot']> {
    const { incarnation, version, sessions, agent } = this.#o;
    const all = sessions.all();
    return {
      contract: CONTRACT_VERSION,
      incarnation,
      version,
      sessions: all.map((session) => session.feedSession(sessions.isDefault(session))),
      prompts: all.flatMap(({ turns }) => turns.feedPrompts()),
      openPermissions: all.flatMap(({ permissions }) => permissions.open().map((q) => q.requestId)),
      agent: agent.current()?.process ?? null,
    };
  }

  beat(): FeedBeat {
    const { clock, agent, lastActivityAtMs } = this.#o;
    const sessions = this.#o.sessions.all();
    const sum = (count: (session: Session) => number) =>
      sessions.reduce((total, session) => total + count(session), 0);
    const child = agent.current()?.process;
    return {
      atMs: clock.nowMs(),
      rssBytes: process.memoryUsage.rss(),
      agentRssBytes: child === undefined ? 0 : rssBytesOfGroup(child.pgid),
      sessions: sessions.length,
      activePrompts: sum(({ turns }) => (turns.running === undefined ? 0 : 1)),
      queuedPrompts: sum(({ turns }) => turns.waiting.length),
      pendingPermissions: sum(({ permissions }) => permissions.openCount),
      heldSessions: sum((session) => (session.hasBackgroundWork ? 1 : 0)),
      subscribers: sum(({ bus }) => bus.readerCount),
      lastActivityAtMs: lastActivityAtMs(),
    };
  }
}
