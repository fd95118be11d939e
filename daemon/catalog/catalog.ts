// Reads the workspace's sessions as a collection: the listing, its counts, the state of live sessions, and the search.
import { createHash, randomUUID } from 'node:crypto';
import type { Clock } from '../contract/clock.ts';
import { type SearchQuery, snippetIn, snippetOf } from '../domain/session-search.ts';
import type { TranscriptView } from '../domain/transcript-view.ts';
import type { CatalogItem, CatalogItems } from './items.ts';

/** Most sessions that one search reads: the most recently changed ones. */
const MAX_SEARCHED = 200;
/** After this time a search reads no further transcript. */
const MAX_SEARCH_MS = 5000;

export interface CatalogDeps {
  readonly items: Pick<CatalogItems, 'fresh' | 'known'>;
  /** The session's transcript, as far as it can be read without starting an agent; undefined when it cannot be read. */
  readonly readIdle: (sessionId: string) => Promise<TranscriptView | undefined>;
  readonly clock: Clock;
}

export interface SearchAnswer {
  readonly results: readonly { readonly session: unknown; readonly snippet: string }[];
  /** Present when some session was not searched: a bound was reached, or its transcript could not be read. */
  readonly truncated?: true;
}

export class Catalog {
  readonly #deps: CatalogDeps;
  readonly #generation = randomUUID();
  #revision = 0;
  #fingerprint = '';

  constructor(deps: CatalogDeps) {
    this.#deps = deps;
  }

  /** The sessions for a listing, after a running agent was asked for the sessions that it keeps itself. */
  listed(): Promise<readonly CatalogItem[]> {
    return this.#deps.items.fresh();
  }

  /** How many active, archived and live sessions this daemon knows of now. Asks no agent. */
  info() {
    const items = this.#deps.items.known();
    const archived = items.filter(({ stored }) => stored?.isArchived === true).length;
    return {
      active: items.length - archived,
      archived,
      total: items.length,
      live: items.filter(({ live }) => live !== undefined).length,
      expensive: true,
      cost: 'disk_scan',
    } as const;
  }

  /**
   * The often changing fields of live sessions, and a version of the list: the revision grows when the id, name, archived flag
   * or pull requests of any session have changed since the last call.
   */
  liveState() {
    const items = this.#deps.items.known();
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

  /**
   * The sessions whose title or messages contain `needle`, without archived sessions, the most recently changed first.
   * @param hasLeft whether the client is gone: then the search stops.
   */
  async search({ needle, maxResults }: SearchQuery, hasLeft: () => boolean): Promise<SearchAnswer> {
    const { clock } = this.#deps;
    const untilMs = clock.monotonicMs() + MAX_SEARCH_MS;
    const candidates = (await this.listed())
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

  /** Searches the title first: if it contains `needle`, the transcript is not read. */
  async #match({ sessionId, summary, stored }: CatalogItem, needle: string) {
    const inTitle = snippetIn(String(summary.displayName ?? ''), needle);
    if (inTitle !== undefined || stored?.isBlank === true) return { snippet: inTitle, isRead: true };
    const view = await this.#deps.readIdle(sessionId);
    return { snippet: view && snippetOf(view, needle), isRead: view !== undefined };
  }
}

/** Fields of a session's summary that `liveState` shows. */
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
