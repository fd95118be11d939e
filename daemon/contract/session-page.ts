// One page of a session listing, as both processes give it: checks of the query, newest first, and an opaque cursor that
// survives new sessions and the change from one process to the other.
import { fail } from './errors.ts';
import { isUuid } from './wire.ts';

const DEFAULT_SIZE = 20;
const MAX_SIZE = 100;

export interface ListedSession {
  readonly createdAtMs: number;
  readonly summary: Readonly<Record<string, unknown>>;
}

export interface SessionPage {
  readonly sessions: readonly Readonly<Record<string, unknown>>[];
  readonly nextCursor?: string;
}

interface Position {
  readonly createdAtMs: number;
  readonly sessionId: string;
}

/** @throws ApiError 400 for a bad cursor, archive state, view or filter; a bad size falls back to the default. */
export function listPage(all: readonly ListedSession[], query: URLSearchParams): SessionPage {
  const after = parseCursor(query.get('cursor'));
  const isArchivedWanted = parseArchiveState(query.get('archiveState'));
  checkView(query);
  const filter = parseFilter(query);
  if (isArchivedWanted) return { sessions: [] };
  const wanted = all
    .filter(({ summary }) => Object.entries(filter).every(([key, value]) => summary[key] === value))
    .map((item) => ({ ...item, position: positionOf(item) }))
    .filter(({ position }) => after === undefined || comparePositions(position, after) > 0)
    .sort((a, b) => comparePositions(a.position, b.position));
  const page = wanted.slice(0, parseSize(query.get('size')));
  const last = page.at(-1);
  return {
    sessions: page.map(({ summary }) => summary),
    ...(last !== undefined && wanted.length > page.length ? { nextCursor: encodeCursor(last.position) } : {}),
  };
}

function positionOf({ createdAtMs, summary }: ListedSession): Position {
  return { createdAtMs, sessionId: String(summary.sessionId) };
}

/** Newest first, ids break ties. */
function comparePositions(a: Position, b: Position): number {
  if (a.createdAtMs !== b.createdAtMs) return b.createdAtMs - a.createdAtMs;
  return a.sessionId < b.sessionId ? -1 : a.sessionId > b.sessionId ? 1 : 0;
}

function parseSize(text: string | null): number {
  const size = text !== null && /^-?\d+$/.test(text) ? Number(text) : DEFAULT_SIZE;
  return Math.min(MAX_SIZE, Math.max(1, size));
}

function encodeCursor(position: Position): string {
  return Buffer.from(JSON.stringify([position.createdAtMs, position.sessionId])).toString('base64url');
}

function parseCursor(text: string | null): Position | undefined {
  if (text === null || text === '') return undefined;
  try {
    const [createdAtMs, sessionId] = JSON.parse(Buffer.from(text, 'base64url').toString('utf8')) as unknown[];
    if (typeof createdAtMs === 'number' && typeof sessionId === 'string') return { createdAtMs, sessionId };
  } catch {
    // Not one of our cursors: refused below like any other bad one.
  }
  throw fail('invalid_cursor', 'The cursor is not one that this listing gave out');
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

function parseFilter(query: URLSearchParams): Record<string, string> {
  const filter: Record<string, string> = {};
  const parent = query.get('parentSessionId');
  if (parent !== null) {
    if (!isUuid(parent)) throw fail('invalid_parent_session_id', '`parentSessionId` must be a UUID');
    filter.parentSessionId = parent.toLowerCase();
  }
  for (const key of ['sourceType', 'sourceId']) {
    const value = query.get(key);
    if (value === '') throw fail('invalid_session_source', `\`${key}\` must not be empty`);
    if (value !== null) filter[key] = value;
  }
  return filter;
}
