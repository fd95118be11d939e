// Makes one page of a session listing for both processes: checks the query, sorts the newest session first, and issues an
// opaque cursor that stays valid when sessions are added, and when the other process answers the next request.
import { fail } from './errors.ts';
import { parseSessionSource } from './session-source.ts';
import { sessionKey } from './wire.ts';

const DEFAULT_SIZE = 20;
const MAX_SIZE = 100;

export interface ListedSession {
  readonly createdAtMs: number;
  /** True for a live session of which nothing is on disk. */
  readonly isUnpersisted?: boolean;
  readonly summary: Readonly<Record<string, unknown>>;
}

export interface SessionPage {
  readonly sessions: readonly Readonly<Record<string, unknown>>[];
  readonly nextCursor?: string;
}

/**
 * How unpersisted sessions are listed. `appended`: persisted sessions fill the pages, and the first page has all unpersisted
 * ones in addition to its size; a list without any persisted session is treated as `merged`. `merged`: all are paged alike.
 */
export type Listing = 'appended' | 'merged';

interface Position {
  readonly createdAtMs: number;
  readonly sessionId: string;
}

interface Cursor extends Position {
  /** The `Listing` of the first page: later pages keep it, even if sessions were persisted meanwhile. */
  readonly listing: Listing;
}

/**
 * The page that the query asks for. A malformed page size counts as the default.
 * @param all every session, in any order. @param asked the `Listing` of a request without cursor.
 * @throws ApiError 400 for a bad cursor, archive state, view or filter.
 */
export function listPage(
  all: readonly ListedSession[],
  query: URLSearchParams,
  asked: Listing = 'appended',
): SessionPage {
  const after = parseCursor(query.get('cursor'));
  const isArchivedWanted = parseArchiveState(query.get('archiveState'));
  checkView(query);
  const filter = parseFilter(query);
  const wanted = all
    .filter(({ summary }) => (summary.isArchived === true) === isArchivedWanted)
    .filter(({ summary }) => Object.entries(filter).every(([key, value]) => summary[key] === value))
    .map((item) => ({ ...item, position: positionOf(item) }))
    .sort((a, b) => comparePositions(a.position, b.position));
  const hasPersisted = wanted.some(({ isUnpersisted }) => isUnpersisted !== true);
  const listing = after?.listing ?? (hasPersisted ? asked : 'merged');
  const paged = wanted
    .filter(({ isUnpersisted }) => listing === 'merged' || isUnpersisted !== true)
    .filter(({ position }) => after === undefined || comparePositions(position, after) > 0);
  const page = paged.slice(0, parseSize(query.get('size')));
  const isFirst = after === undefined;
  const appended = wanted.filter(({ isUnpersisted }) => isFirst && listing === 'appended' && isUnpersisted);
  const last = page.at(-1);
  return {
    sessions: [...page, ...appended].map(({ summary }) => summary),
    ...(last !== undefined && paged.length > page.length
      ? { nextCursor: encodeCursor({ ...last.position, listing }) }
      : {}),
  };
}

function positionOf({ createdAtMs, summary }: ListedSession): Position {
  return { createdAtMs, sessionId: String(summary.sessionId) };
}

/** Sorts the newest session first; session ids break ties. */
function comparePositions(a: Position, b: Position): number {
  if (a.createdAtMs !== b.createdAtMs) return b.createdAtMs - a.createdAtMs;
  return a.sessionId < b.sessionId ? -1 : a.sessionId > b.sessionId ? 1 : 0;
}

function parseSize(text: string | null): number {
  const size = text !== null && /^-?\d+$/.test(text) ? Number(text) : DEFAULT_SIZE;
  return Math.min(MAX_SIZE, Math.max(1, size));
}

function encodeCursor({ createdAtMs, sessionId, listing }: Cursor): string {
  const merged = listing === 'merged' ? [1] : [];
  return Buffer.from(JSON.stringify([createdAtMs, sessionId, ...merged])).toString('base64url');
}

function parseCursor(text: string | null): Cursor | undefined {
  if (text === null || text === '') return undefined;
  try {
    const parts = JSON.parse(Buffer.from(text, 'base64url').toString('utf8')) as unknown[];
    const [createdAtMs, sessionId, merged] = parts;
    if (typeof createdAtMs === 'number' && typeof sessionId === 'string')
      return { createdAtMs, sessionId, listing: merged === 1 ? 'merged' : 'appended' };
  } catch {
    // Text that was not issued as a cursor is refused below.
  }
  throw fail('invalid_cursor', 'The cursor was not issued by this listing');
}

function parseArchiveState(text: string | null): boolean {
  if (text === null || text === 'active') return false;
  if (text === 'archived') return true;
  throw fail('invalid_archive_state', '`archiveState` must be "active" or "archived"');
}

function checkView(query: URLSearchParams): void {
  const view = query.get('view');
  if (view !== null && view !== 'organized')
    throw fail('invalid_session_view', '`view` must be "organized" when it is given');
  if (query.has('group') && view !== 'organized')
    throw fail('invalid_session_group_filter', '`group` needs `view=organized`');
}

/** The filter of the query: fields and values that a session's summary must have to be listed. */
function parseFilter(query: URLSearchParams): Readonly<Record<string, unknown>> {
  const parent = query.get('parentSessionId');
  if (parent === '') throw fail('invalid_parent_session_id', '`parentSessionId` must not be empty');
  if (parent !== null && query.has('view'))
    throw fail('invalid_parent_session_filter', '`parentSessionId` does not go with `view=organized`');
  return {
    ...(parent === null ? {} : { parentSessionId: sessionKey(parent) }),
    ...parseSessionSource({
      sourceType: query.get('sourceType') ?? undefined,
      sourceId: query.get('sourceId') ?? undefined,
    }),
  };
}
