// The search for a text in transcripts: checks the query, and cuts out the text around a match.
import { fail } from '../contract/errors.ts';
import { textOf } from './export-entries.ts';
import { updateOf } from './transcript.ts';
import type { TranscriptView } from './transcript-view.ts';

const MAX_QUERY_CHARS = 200;
const DEFAULT_RESULTS = 20;
const MAX_RESULTS = 50;
const SNIPPET_CHARS = 120;
const SEARCHED_KINDS = new Set(['user_message_chunk', 'agent_message_chunk']);

export interface SearchQuery {
  /** The text to find, in lower case. */
  readonly needle: string;
  readonly maxResults: number;
}

/** Parses `q` and `maxResults`. @throws ApiError 400 `invalid_search_query`, `invalid_search_max_results`. */
export function parseSearchQuery(query: URLSearchParams): SearchQuery {
  const text = (query.get('q') ?? '').trim();
  if (text === '' || text.length > MAX_QUERY_CHARS)
    throw fail('invalid_search_query', `\`q\` must have 1 to ${MAX_QUERY_CHARS} characters`);
  const asked = query.get('maxResults') ?? String(DEFAULT_RESULTS);
  const maxResults = /^\d{1,3}$/.test(asked) ? Number(asked) : 0;
  if (maxResults < 1 || maxResults > MAX_RESULTS)
    throw fail(
      'invalid_search_max_results',
      `\`maxResults\` must be a whole number from 1 to ${MAX_RESULTS}`,
    );
  return { needle: text.toLowerCase(), maxResults };
}

/** The part of `text` around the first occurrence of `needle`, as one line; undefined when `text` does not contain `needle`. */
export function snippetIn(text: string, needle: string): string | undefined {
  const at = text.toLowerCase().indexOf(needle);
  if (at === -1) return undefined;
  const from = Math.max(0, at - Math.floor((SNIPPET_CHARS - needle.length) / 2));
  const cut = text.slice(from, from + Math.max(SNIPPET_CHARS, needle.length));
  const line = cut.replace(/\s+/g, ' ').trim();
  return `${from > 0 ? '…' : ''}${line}${from + cut.length < text.length ? '…' : ''}`;
}

/** The text around the first match in the messages of person and agent; undefined when no message has a match. */
export function snippetOf({ records }: TranscriptView, needle: string): string | undefined {
  for (const { type, data } of records) {
    const update = updateOf(data);
    if (type !== 'session_update' || !SEARCHED_KINDS.has(String(update.sessionUpdate))) continue;
    const snippet = snippetIn(textOf(update.content), needle);
    if (snippet !== undefined) return snippet;
  }
  return undefined;
}
