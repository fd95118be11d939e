// Makes pages of a transcript: chooses the records that a page may show, adds as many as fit, and renders the page.
import { fail } from '../contract/errors.ts';
import { asRecord, isRecord, type JsonRecord } from '../contract/json-record.ts';
import { RECORD_ID_KEY, updateOf } from './transcript.ts';
import {
  type Direction,
  encodeCursor,
  invalidAnchor,
  invalidCursor,
  type PageStart,
  startOf,
  type TranscriptQuery,
} from './transcript-page-query.ts';
import {
  outlineOf,
  type TranscriptOutline,
  type TranscriptRecord,
  type TranscriptView,
} from './transcript-view.ts';

/** Bounds for the size of one page as JSON, in bytes. */
export interface PageBounds {
  /** A page ends before the record that would make it larger than this. Only its first record alone may be larger. */
  readonly targetBytes: number;
  /** For a record larger than this the whole page is refused. */
  readonly maxBytes: number;
}

export const PAGE_BOUNDS: PageBounds = { targetBytes: 8 * 1024 * 1024, maxBytes: 32 * 1024 * 1024 };

export interface TranscriptPage {
  readonly v: 1;
  readonly sessionId: string;
  readonly events: readonly JsonRecord[];
  readonly nextCursor?: string;
  readonly hasMore: boolean;
  readonly startTime?: string;
  readonly lastUpdated?: string;
  readonly partial?: true;
  readonly targetRecordId?: string;
  readonly hasOlder?: boolean;
}

/**
 * One page, oldest record first, whatever the page's direction. Following `nextCursor` shows every record of the
 * snapshot once.
 * @throws ApiError 400 `invalid_transcript_cursor`, `invalid_turn_anchor`; 409 `transcript_snapshot_unavailable` when a
 *   record that the query names has been dropped; 413 `transcript_page_too_large`.
 */
export function pageOf(view: TranscriptView, query: TranscriptQuery, bounds = PAGE_BOUNDS): TranscriptPage {
  const filling = new PageFilling(outlineOf(view), query, bounds);
  const candidates = view.records.slice(filling.low, filling.high);
  for (const record of filling.direction === 'forward' ? candidates : candidates.reverse())
    if (!filling.add(record)) break;
  return filling.page();
}

/** First and last known time among the first `length` records, in ISO 8601; empty when no record's time is known. */
export function timesOf(
  outline: Pick<TranscriptOutline, 'atMsAt' | 'length'>,
  length = outline.length,
): { readonly startTime?: string; readonly lastUpdated?: string } {
  let [first, last] = [0, length - 1];
  while (first < length && outline.atMsAt(first) <= 0) first += 1;
  if (first >= length) return {};
  while (outline.atMsAt(last) <= 0) last -= 1;
  return {
    startTime: new Date(outline.atMsAt(first)).toISOString(),
    lastUpdated: new Date(outline.atMsAt(last)).toISOString(),
  };
}

/** How many records belong to the snapshot; without a snapshot, all. @throws ApiError 409 when its last record was dropped. */
export function lengthWithin(outline: TranscriptOutline, snapshot: string | undefined): number {
  if (snapshot === undefined) return outline.length;
  const last = outline.positionOf(snapshot);
  if (last === undefined) throw snapshotGone(outline.sessionId);
  return Math.min(last + 1, outline.length);
}

/** Builds one page: knows which records it may show, and collects records until the page is full. */
export class PageFilling {
  readonly #outline: TranscriptOutline;
  readonly #bounds: PageBounds;
  readonly #asked: PageStart;
  readonly #length: number;
  readonly direction: Direction;
  /** Positions of the candidates, the records that the page may show: from `low` up to but not `high`. */
  readonly low: number;
  readonly high: number;
  readonly #events: JsonRecord[] = [];
  #bytes = 0;

  /** @throws ApiError as `pageOf` */
  constructor(outline: TranscriptOutline, query: TranscriptQuery, bounds: PageBounds) {
    const { start, last } = startOf(query);
    this.#outline = outline;
    this.#bounds = bounds;
    this.#asked = start;
    this.#length = lengthWithin(outline, last);
    this.direction = directionOf(start);
    const from = Math.min(positionOf(start, outline, this.#length), this.#length);
    const isForward = this.direction === 'forward';
    this.low = isForward ? from : Math.max(0, from - query.limit);
    this.high = isForward ? Math.min(this.#length, from + query.limit) : from;
  }

  /**
   * Adds the next candidate in the page's direction.
   * @returns false when the candidate does not fit any more; the first candidate always fits.
   * @throws ApiError 413 for a record over `maxBytes`.
   */
  add(record: TranscriptRecord): boolean {
    const { targetBytes, maxBytes } = this.#bounds;
    const event = eventOf(record);
    const size = Buffer.byteLength(JSON.stringify(event));
    if (this.#events.length > 0 && this.#bytes + size > targetBytes) return false;
    if (size > maxBytes)
      throw fail('transcript_page_too_large', 'One record of the transcript exceeds the page limit', {
        sessionId: this.#outline.sessionId,
        pageBytes: size,
        maxBytes,
      });
    this.#bytes += size;
    this.#events.push(event);
    return true;
  }

  /** The page with the records that were added. */
  page(): TranscriptPage {
    const { sessionId, isPartial } = this.#outline;
    const isForward = this.direction === 'forward';
    const count = this.#events.length;
    const start = isForward ? this.low : this.high - count;
    const end = start + count;
    const hasMore = isForward ? end < this.#length : start > 0;
    const edge = isForward ? end - 1 : start;
    const nameAt = (at: number) => this.#outline.recordIdAt(at);
    const hasNext = hasMore && count > 0;
    return {
      v: 1,
      sessionId,
      events: isForward ? this.#events : this.#events.reverse(),
      hasMore,
      ...(hasNext
        ? { nextCursor: encodeCursor(nameAt(edge), this.direction, nameAt(this.#length - 1)) }
        : {}),
      ...timesOf(this.#outline, this.#length),
      ...(isPartial ? { partial: true } : {}),
      ...(this.#asked.kind === 'at' ? { targetRecordId: this.#asked.recordId, hasOlder: start > 0 } : {}),
    };
  }
}

function directionOf(start: PageStart): Direction {
  if (start.kind === 'cursor') return start.direction;
  return start.kind === 'last' || start.kind === 'before' ? 'backward' : 'forward';
}

/** The position at which the page begins: of a forward page's first record, or one behind a backward page's newest record. */
function positionOf(start: PageStart, outline: TranscriptOutline, length: number): number {
  switch (start.kind) {
    case 'first':
      return 0;
    case 'last':
      return length;
    case 'cursor': {
      const at = outline.positionOf(start.recordId);
      if (at === undefined) throw snapshotGone(outline.sessionId);
      return start.direction === 'forward' ? at + 1 : at;
    }
    case 'before': {
      const at = outline.positionOf(start.recordId);
      if (at === undefined || at > length) throw invalidCursor('`beforeRecordId` names no record');
      return at;
    }
    case 'at': {
      const at = outline.positionOf(start.recordId) ?? length;
      const isThere = at < length && outline.recordIdAt(at) === start.recordId;
      if (!isThere || outline.kindAt(at) !== 'start') throw invalidAnchor();
      return at;
    }
  }
}

function eventOf({ recordId, atMs, data, type, ...tags }: TranscriptRecord): JsonRecord {
  const time = atMs > 0 ? { _meta: { serverTimestamp: atMs } } : {};
  return { v: 1, type, data: type === 'session_update' ? named(data, recordId) : data, ...tags, ...time };
}

/** `data` with `recordId` added to the update's `_meta`, where clients look for it. */
function named(data: JsonRecord, recordId: string): JsonRecord {
  const update = updateOf(data);
  const marked = { ...update, _meta: { ...asRecord(update._meta), [RECORD_ID_KEY]: recordId } };
  return isRecord(data.update) ? { ...data, update: marked } : marked;
}

function snapshotGone(sessionId: string) {
  return fail(
    'transcript_snapshot_unavailable',
    'The part of the transcript that the request names is no longer kept',
    { sessionId },
  );
}
