// The workspace's sessions as a collection: live ones and those that are only on disk, in one list; archived, deleted and
// searched together.
import { createHash, randomUUID } from 'node:crypto';
import type { Clock } from '../contract/clock.ts';
import { fail } from '../contract/errors.ts';
import type { FeedBody } from '../contract/feed.ts';
import type { ListedSession } from '../contract/session-page.ts';
import { sessionKey } from '../contract/wire.ts';
import type { MetadataPatch } from '../domain/metadata.ts';
import type { BatchAnswer, BatchOutcome } from '../domain/session-batch.ts';
import { type SearchQuery, snippetIn, snippetOf } from '../domain/session-search.ts';
import type { TranscriptView } from '../domain/transcript-view.ts';
import { type History, isWorthKeeping, type StoredSession, shelvedAs } from '../history/history.ts';
import type { Session } from '../session/session.ts';
import { summaryOf } from '../session/summary.ts';
import type { LiveSessions } from '../sessions/live-sessions.ts';
import type { AgentSessions } from './agent-sessions.ts';
import { runBatch } from './batch.ts';

/** Transcripts that one search reads at most, newest first. */
const MAX_SEARCHED = 200;
/** How long one search goes on reading. */
const MAX_SEARCH_MS = 5000;

export interface CatalogOptions {
  readonly sessions: LiveSessions;
  readonly history: History;
  /** Those that the agent keeps itself. */
  readonly agentSessions: AgentSessions;
  /** What can be read of a session's talk without starting anything; undefined when nothing can. */
  readonly talk: (sessionId: string) => Promise<TranscriptView | undefined>;
  readonly clock: Clock;
  /** Tells the coordinator; returns the record's seq. */
  readonly tell: (body: FeedBody) => number;
}

interface Item extends ListedSession {
  readonly sessionId: string;
  readonly updatedAtMs: number;
  readonly live: Session | undefined;
  readonly stored: StoredSession | undefined;
}

export interface SearchAnswer {
  readonly results: readonly { readonly session: unknown; readonly snippet: string }[];
  /** Not everything was read. */
  readonly truncated?: true;
}

export class Catalog {
  readonly #o: CatalogOptions;
  readonly #generation = randomUUID();
  #revision = 0;
  #fingerprint = '';

  constructor(options: CatalogOptions) {
    this.#o = options;
  }

  /** Every session once, in no order; including those that a running agent keeps itself. */
  async freshItems(): Promise<readonly Item[]> {
    await this.#o.agentSessions.refresh();
    return this.items();
  }

  /** As `freshItems`, of what is known now. */
  items(): readonly Item[] {
    const { sessions, history } = this.#o;
    const stored = new Map(history.list().map((session) => [sessionKey(session.sessionId), session]));
    const items: Item[] = [];
    for (const live of sessions.all()) {
      const key = sessionKey(live.sessionId);
      items.push(liveItem(live, stored.get(key)));
      stored.delete(key);
    }
    return [...items, ...[...stored.values()].filter(isWorthKeeping).map(storedItem)];
  }

  /** How many sessions there are of which kind. */
  info() {
    const items = this.items();
    const archived = items.filter(({ stored }) => stored?.isArchived === true).length;
    return {
      active: items.length - archived,
      archived,
      total: items.length,
      live: this.#o.sessions.liveCount,
      expensive: true,
      cost: 'disk_scan',
    } as const;
  }

  /** What changes often about live sessions, and a version that changes whenever the list itself does. */
  liveState() {
    const items = this.items();
    const facts = items.map(({ summary }) => {
      const { sessionId, displayName, isArchived, prs } = summary;
      return JSON.stringify([sessionId, displayName, isArchived, prs]);
    });
    const fingerprint = createHash('sha1').update(facts.sort().join('\n')).digest('base64');
    if (fingerprint !== this.#fingerprint) this.#revision += 1;
    this.#fingerprint = fingerprint;
    return {
      v: 1,
      catalogVersion: { generation: this.#generation, revision: this.#revision },
      sessions: items.filter(({ live }) => live !== undefined).map(({ summary }) => volatilePart(summary)),
    } as const;
  }

  /** Sessions at rest become archived; a live one is closed for it, unless something still goes on in it. */
  async archive(ids: readonly string[], clientId: string | undefined) {
    const answer = await runBatch(ids, ['archived', 'alreadyArchived'], (id) =>
      this.#archiveOne(id, clientId),
    );
    return { ...answer, resolvedConflicts: [] };
  }

  async unarchive(ids: readonly string[]) {
    const { sessions, history } = this.#o;
    const answer = await runBatch(ids, ['unarchived', 'alreadyActive'], (id) => {
      const stored = history.find(id);
      if (stored === undefined) return sessions.find(id) === undefined ? 'notFound' : 'alreadyActive';
      if (!history.setArchived(id, false)) return 'alreadyActive';
      this.#tellShelf(id);
      return 'unarchived';
    });
    return { ...answer, resolvedConflicts: [] };
  }

  /** Closes live sessions, whatever goes on in them, and removes their transcripts, ours or the agent's. */
  remove(ids: readonly string[], clientId: string | undefined): Promise<BatchAnswer<'removed'>> {
    return runBatch(ids, ['removed'], (id) => this.#removeOne(id, clientId));
  }

  /**
   * Changes what is stored of a session that is not live.
   * @returns undefined when nothing is stored of it.
   * @throws ApiError 501 for what only live sessions have, 507 when it cannot be written.
   */
  patchStored(sessionId: string, { displayName, pr }: MetadataPatch) {
    const stored = this.#o.history.find(sessionId);
    if (stored === undefined) return undefined;
    if (pr !== undefined)
      throw fail('not_implemented', 'Pull requests are linked to live sessions only: load it first', {
        sessionId,
      });
    if (displayName !== undefined) {
      const recording = this.#o.history.begin(stored, () => undefined);
      recording.change({ displayName, titleSource: 'manual' });
      const hasFailed = recording.isDegraded;
      recording.close();
      if (hasFailed) throw fail('storage_unavailable', 'The transcript cannot be written', { sessionId });
      this.#tellShelf(sessionId);
    }
    const name = displayName ?? stored.displayName;
    return { sessionId: stored.sessionId, ...(name === undefined ? {} : { displayName: name }) };
  }

  /** Active sessions whose title or talk has the words, the most recently changed first. */
  async search({ needle, maxResults }: SearchQuery, hasLeft: () => boolean): Promise<SearchAnswer> {
    const { clock } = this.#o;
    const untilMs = clock.monotonicMs() + MAX_SEARCH_MS;
    const candidates = (await this.freshItems())
      .filter(({ stored }) => stored?.isArchived !== true)
      .sort((a, b) => b.updatedAtMs - a.updatedAtMs);
    const results: SearchAnswer['results'][number][] = [];
    let isAllRead = true;
    for (const [index, item] of candidates.entries()) {
      if (results.length === maxResults) break;
      if (index >= MAX_SEARCHED || clock.monotonicMs() > untilMs || hasLeft())
        return { results, truncated: true };
      const { snippet, isRead } = await this.#match(item, needle);
      isAllRead &&= isRead;
      if (snippet !== undefined) results.push({ session: item.summary, snippet });
    }
    return isAllRead ? { results } : { results, truncated: true };
  }

  async #removeOne(id: string, clientId: string | undefined): Promise<BatchOutcome<'removed'>> {
    const { sessions, history, agentSessions } = this.#o;
    if (sessions.isStarting(id)) return STARTING;
    const live = sessions.find(id);
    const stored = history.find(id);
    if (live !== undefined) this.#close(live, clientId);
    if (stored === undefined) return live === undefined ? 'notFound' : 'removed';
    // One in which nothing was said is in no transcript of the agent.
    if (stored.isKeptByAgent === true && stored.isBlank !== true) {
      await sessions.sessionCloser.closed(id);
      await agentSessions.remove(stored.sessionId);
    }
    // Somebody may have brought it back meanwhile.
    if (sessions.find(id) !== undefined || sessions.isStarting(id)) return STARTING;
    history.remove(id);
    this.#tellGone(id, live, 'deleted');
    return 'removed';
  }

  /** Only a client of the session is named as the one who closed it. */
  #close(live: Session, clientId: string | undefined): void {
    const closedBy = clientId !== undefined && live.clients.has(clientId) ? clientId : undefined;
    this.#o.sessions.close(live, closedBy);
  }

  #archiveOne(id: string, clientId: string | undefined): BatchOutcome<'archived' | 'alreadyArchived'> {
    const { sessions, history } = this.#o;
    const stored = history.find(id);
    const live = sessions.find(id);
    if (stored?.isArchived === true) return 'alreadyArchived';
    if (sessions.isStarting(id)) return STARTING;
    if (stored === undefined) return live === undefined ? 'notFound' : NOT_STATED;
    if (live?.isWorking === true) return BUSY;
    if (live !== undefined) this.#close(live, clientId);
    if (!history.setArchived(id, true)) return { error: 'The transcript no longer exists' };
    this.#tellGone(id, live, 'archived');
    return 'archived';
  }

  /** A coordinator may hold a session that is not live as one that sleeps; the end of a live one it has been told. */
  #tellGone(sessionId: string, live: Session | undefined, reason: string): void {
    this.#tellShelf(sessionId);
    if (live !== undefined) return;
    const ended = { sessionId: sessionKey(sessionId), reason, atMs: this.#o.clock.nowMs() };
    this.#o.tell({ type: 'session_ended', ended });
  }

  #tellShelf(sessionId: string): void {
    const shelved = shelvedAs(sessionKey(sessionId), this.#o.history.find(sessionId));
    this.#o.tell({ type: 'shelved', shelved });
  }

  async #match({ sessionId, summary, stored }: Item, needle: string) {
    const inTitle = snippetIn(String(summary.displayName ?? ''), needle);
    if (inTitle !== undefined || stored?.isBlank === true) return { snippet: inTitle, isRead: true };
    const view = await this.#o.talk(sessionId);
    return { snippet: view && snippetOf(view, needle), isRead: view !== undefined };
  }
}

const BUSY = {
  error: 'The session is busy: wait for its turn to end, or cancel it',
  code: 'session_busy',
};
const STARTING = { error: 'The session is being made live', code: 'restore_in_progress' };
const NOT_STATED = { error: 'The change could not be written for this session', code: 'storage_unavailable' };

function liveItem(live: Session, stored: StoredSession | undefined): Item {
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

function storedItem(stored: StoredSession): Item {
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

const VOLATILE = [
  'sessionId',
  'clientCount',
  'hasActivePrompt',
  'activeWorkState',
  'hasRunningBackgroundTasks',
  'isWaitingForPermission',
  'isWaitingForUserQuestion',
  'updatedAt',
];

function volatilePart(summary: Readonly<Record<string, unknown>>) {
  return Object.fromEntries(VOLATILE.map((key) => [key, summary[key]]));
}
