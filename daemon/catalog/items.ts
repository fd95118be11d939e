// The workspace's sessions as one list: every live session, and every stored session that is not live.
import type { ListedSession } from '../contract/session-page.ts';
import { sessionKey } from '../contract/wire.ts';
import { type History, isWorthKeeping, type StoredSession } from '../history/history.ts';
import type { Session } from '../session/session.ts';
import { summaryOf } from '../session/summary.ts';
import type { LiveSessions } from '../sessions/live-sessions.ts';
import type { AgentSessions } from './agent-sessions.ts';

/** One session of the list. At least one of `live` and `stored` is defined. */
export interface CatalogItem extends ListedSession {
  readonly sessionId: string;
  readonly updatedAtMs: number;
  readonly live: Session | undefined;
  /** What the history store has of the session, live or not. */
  readonly stored: StoredSession | undefined;
}

export interface CatalogItemsDeps {
  readonly sessions: Pick<LiveSessions, 'all'>;
  readonly history: Pick<History, 'list'>;
  /** The sessions that the agent keeps itself. */
  readonly agentSessions: Pick<AgentSessions, 'refresh'>;
}

export class CatalogItems {
  readonly #deps: CatalogItemsDeps;

  constructor(deps: CatalogItemsDeps) {
    this.#deps = deps;
  }

  /** Every session once, in no order, after a running agent was asked for the sessions that it keeps itself. */
  async fresh(): Promise<readonly CatalogItem[]> {
    await this.#deps.agentSessions.refresh();
    return this.known();
  }

  /** Every session once, in no order, as far as this daemon knows them now. Asks no agent. */
  known(): readonly CatalogItem[] {
    const { sessions, history } = this.#deps;
    const stored = new Map(history.list().map((session) => [sessionKey(session.sessionId), session]));
    const items: CatalogItem[] = [];
    for (const live of sessions.all()) {
      const key = sessionKey(live.sessionId);
      items.push(liveItem(live, stored.get(key)));
      stored.delete(key);
    }
    return [...items, ...[...stored.values()].filter(isWorthKeeping).map(storedItem)];
  }
}

function liveItem(live: Session, stored: StoredSession | undefined): CatalogItem {
  const { titleSource, parentSessionId } = stored ?? {};
  return {
    sessionId: live.sessionId,
    createdAtMs: live.createdAtMs,
    updatedAtMs: live.lastActivityAtMs,
    isUnpersisted: stored === undefined || !isWorthKeeping(stored),
    live,
    stored,
    summary: {
      ...summaryOf(live),
      ...(titleSource === undefined ? {} : { titleSource }),
      ...(parentSessionId === undefined ? {} : { parentSessionId }),
      isArchived: false,
    },
  };
}

function storedItem(stored: StoredSession): CatalogItem {
  const { createdAtMs, updatedAtMs, isBlank: _blank, isKeptByAgent: _kept, ...facts } = stored;
  return {
    sessionId: stored.sessionId,
    createdAtMs,
    updatedAtMs,
    live: undefined,
    stored,
    summary: {
      ...facts,
      createdAt: new Date(createdAtMs).toISOString(),
      updatedAt: new Date(updatedAtMs).toISOString(),
      clientCount: 0,
      hasActivePrompt: false,
    },
  };
}
