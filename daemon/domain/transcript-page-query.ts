// The query of a transcript request: where its page begins, the page's direction, the opaque cursor of the next page, and the
// snapshot, which is the transcript up to one record: pages of one snapshot fit together while the transcript grows.
import { type ApiError, fail } from '../contract/errors.ts';
import { isRecord } from '../contract/json-record.ts';

const DEFAULT_LIMIT = 100;
const MAX_LIMIT = 500;
const MAX_CURSOR_CHARS = 4096;
const MAX_RECORD_ID_CHARS = 200;

export type Direction = 'forward' | 'backward';

/** Where a page begins. Records name the positions, which therefore stay valid while records are appended. */
export type PageStart =
  | { readonly kind: 'first' }
  | { readonly kind: 'last' }
  /** Right behind (forward) or right before (backward) the record, which is not part of the page. */
  | { readonly kind: 'cursor'; readonly recordId: string; readonly direction: Direction }
  | { readonly kind: 'before'; readonly recordId: string }
  /** At the record, which must be the first one of a turn. */
  | { readonly kind: 'at'; readonly recordId: string };

/** The checked query. Cursors and snapshots stay opaque text, because the agent may have issued them. */
export interface TranscriptQuery {
  /** Most records of the page, 1 to 500. */
  readonly limit: number;
  /** Never together with one of the fields below. */
  readonly cursor?: string;
  readonly direction?: 'backward';
  readonly beforeRecordId?: string;
  /** Given only together with `snapshot`. */
  readonly atRecordId?: string;
  readonly snapshot?: string;
}

const START_KEYS = ['direction', 'beforeRecordId', 'atRecordId'] as const;

/** Parses the query. @throws ApiError 400 `invalid_transcript_limit`, `invalid_transcript_cursor`, `invalid_turn_anchor`. */
export function parseTranscriptQuery(query: URLSearchParams): TranscriptQuery {
  const limit = parsePageLimit(query.get('limit'));
  const cursor = opaque(query, 'cursor');
  if (cursor === undefined) return { limit, ...parseStart(query), ...parseSnapshot(query) };
  for (const other of [...START_KEYS, 'snapshot'])
    if (query.has(other)) throw invalidCursor(`\`cursor\` excludes \`${other}\``);
  return { limit, cursor };
}

/** @throws ApiError 400 `invalid_transcript_cursor`. */
export function parseSnapshot(query: URLSearchParams): { readonly snapshot?: string } {
  const snapshot = opaque(query, 'snapshot');
  return snapshot === undefined ? {} : { snapshot };
}

/** Parses `limit`, the size of a page; null: the default of 100. @throws ApiError 400 `invalid_transcript_limit`. */
export function parsePageLimit(text: string | null): number {
  if (text === null) return DEFAULT_LIMIT;
  const limit = /^\d{1,4}$/.test(text) ? Number(text) : 0;
  if (limit >= 1 && limit <= MAX_LIMIT) return limit;
  throw fail('invalid_transcript_limit', `\`limit\` must be a whole number from 1 to ${MAX_LIMIT}`, {
    maxLimit: MAX_LIMIT,
  });
}

function parseStart(query: URLSearchParams): Pick<TranscriptQuery, (typeof START_KEYS)[number]> {
  const given = START_KEYS.filter((key) => query.has(key));
  const [key] = given;
  if (key === undefined) return {};
  if (given.length > 1) throw invalidCursor(`\`${given.join('` and `')}\` exclude each other`);
  const value = query.get(key) ?? '';
  if (key === 'direction') {
    if (value !== 'backward') throw invalidCursor('`direction` must be "backward" when it is given');
    return { direction: value };
  }
  if (key === 'beforeRecordId') {
    if (!isRecordId(value)) throw invalidCursor('`beforeRecordId` must name a record');
    return { beforeRecordId: value };
  }
  if (!query.has('snapshot')) throw invalidCursor('`atRecordId` needs the `snapshot` that it was read from');
  if (!isRecordId(value)) throw invalidAnchor();
  return { atRecordId: value };
}

function opaque(query: URLSearchParams, key: 'cursor' | 'snapshot'): string | undefined {
  const text = query.get(key);
  if (text === null) return undefined;
  if (text === '' || text.length > MAX_CURSOR_CHARS)
    throw invalidCursor(`\`${key}\` was not issued by this server`);
  return text;
}

function isRecordId(text: string): boolean {
  return text.trim() !== '' && text.length <= MAX_RECORD_ID_CHARS;
}

/** The opaque text of a snapshot that ends with the record. */
export function encodeSnapshot(lastRecordId: string): string {
  return encode({ s: lastRecordId });
}

/** @throws ApiError 400 `invalid_transcript_cursor`. */
export function decodeSnapshot(text: string): string {
  const { s } = decode(text);
  if (typeof s === 'string') return s;
  throw invalidCursor('`snapshot` was not issued by this server');
}

/** The opaque text of a cursor for the page that continues behind or before the record, within the snapshot. */
export function encodeCursor(recordId: string, direction: Direction, snapshot: string): string {
  return encode({ r: recordId, d: direction === 'forward' ? 'f' : 'b', s: snapshot });
}

/**
 * Where a page begins and where its snapshot ends, for a transcript that the daemon pages itself.
 * @throws ApiError 400 `invalid_transcript_cursor` for a cursor or snapshot that the daemon did not issue.
 */
export function startOf(query: TranscriptQuery): {
  readonly start: PageStart;
  /** Last record of the snapshot; undefined: the page shows the transcript as it is now. */
  readonly last: string | undefined;
} {
  const { cursor, direction, beforeRecordId, atRecordId, snapshot } = query;
  if (cursor !== undefined) return decodeCursor(cursor);
  const last = snapshot === undefined ? undefined : decodeSnapshot(snapshot);
  if (direction !== undefined) return { start: { kind: 'last' }, last };
  if (beforeRecordId !== undefined) return { start: { kind: 'before', recordId: beforeRecordId }, last };
  if (atRecordId !== undefined) return { start: { kind: 'at', recordId: atRecordId }, last };
  return { start: { kind: 'first' }, last };
}

function decodeCursor(text: string): ReturnType<typeof startOf> {
  const { r, d, s } = decode(text);
  if (typeof r !== 'string' || typeof s !== 'string' || (d !== 'f' && d !== 'b'))
    throw invalidCursor('The cursor was not issued by this server');
  return {
    start: { kind: 'cursor', recordId: r, direction: d === 'f' ? 'forward' : 'backward' },
    last: s,
  };
}

function encode(value: object): string {
  return Buffer.from(JSON.stringify(value)).toString('base64url');
}

function decode(text: string): Readonly<Record<string, unknown>> {
  try {
    const value: unknown = JSON.parse(Buffer.from(text, 'base64url').toString('utf8'));
    if (isRecord(value)) return value;
  } catch {
    // Text that the daemon did not issue is refused below.
  }
  throw invalidCursor('The cursor or snapshot was not issued by this server');
}

/** The error for a cursor, snapshot or start of a page that is malformed or not known. */
export function invalidCursor(message: string): ApiError {
  return fail('invalid_transcript_cursor', message);
}

/** The error for an `atRecordId` that is not the first record of a turn. */
export function invalidAnchor(): ApiError {
  return fail('invalid_turn_anchor', '`atRecordId` must name a turn of the snapshot');
}
