// Computes what the daemon reports of itself on the feed, each in one tick: the content of a snapshot, and the numbers of a beat.
import type { AgentHost } from '../agent/agent.ts';
import type { Clock } from '../contract/clock.ts';
import type { FeedBeat, FeedBody } from '../contract/feed.ts';
import { CONTRACT_VERSION } from '../contract/handshake.ts';
import { rssBytesOfGroup } from '../contract/proc.ts';
import type { Session } from '../session/session.ts';
import type { SessionRegister } from '../sessions/register.ts';
import type { SingleSlot } from '../sessions/single-slot.ts';

export interface FeedReportsDeps {
  /** Id of this run of the daemon; empty where no coordinator started it. */
  readonly incarnation: string;
  readonly version: string;
  readonly register: Pick<SessionRegister, 'all'>;
  readonly slot: Pick<SingleSlot, 'isFilledBy'>;
  readonly agent: Pick<AgentHost, 'current'>;
  readonly clock: Clock;
}

/** A feed snapshot without the parts that only `FeedPublisher` knows: record type, ended sessions, beat. */
type Snapshot = Omit<Extract<FeedBody, { type: 'snapshot' }>, 'type' | 'ended' | 'beat'>;

export class FeedReports {
  readonly #deps: FeedReportsDeps;

  constructor(deps: FeedReportsDeps) {
    this.#deps = deps;
  }

  snapshot(): Snapshot {
    const { incarnation, version, register, slot, agent } = this.#deps;
    const sessions = register.all();
    return {
      contract: CONTRACT_VERSION,
      incarnation,
      version,
      sessions: sessions.map((session) => session.feedSession(slot.isFilledBy(session))),
      prompts: sessions.flatMap(({ turns }) => turns.feedPrompts()),
      openPermissions: sessions.flatMap(({ permissions }) =>
        permissions.open().map(({ requestId }) => requestId),
      ),
      agent: agent.current()?.process ?? null,
    };
  }

  /** The numbers of a beat; `FeedPublisher` adds the time of the last activity. */
  beat(): Omit<FeedBeat, 'lastActivityAtMs'> {
    const { clock, agent, register } = this.#deps;
    const sessions = register.all();
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
    };
  }
}
