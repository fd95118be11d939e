// Pages of a transcript. A transcript is shown as records of its own: the chunks of one text are one record, named by its
// first chunk, so that the names hold while the text grows and after the file was compacted.
import { fail } from '../contract/errors.ts';
import { asRecord, isRecord, type JsonRecord } from './records.ts';
import { isOfTranscript, MAX_RECORD_CHARS, TextRun, TurnBounds, updateOf } from './transcript.ts';
import {
  type Direction,
  encodeCursor,
  invalidAnchor,
  invalidCursor,
  type PageStart,
  startOf,
  type TranscriptQuery,
} from './transcript-page-query.ts';

/** A record of a transcript, whoever keeps it. */
export interface TranscriptRecord {
  readonly recordId: string;
  /** 0 where it is not known. */
  readonly atMs: number;
  readonly type: string;
  readonly data: JsonRecord;
  readonly promptId?: string;
  readonly originatorClientId?: string;
}

/** A session's past as one list. */
export interface TranscriptView {
  readonly sessionId: string;
  readonly records: readonly TranscriptRecord[];
  /** Where each known record is in `records`; of one that is not shown, where the next one is. */
  readonly positions: ReadonlyMap<string, number>;
  /** Something could not be read, or the oldest part has been dropped. */
  readonly isPartial: boolean;
}

/** What one page may take as JSON. */
export interface PageBounds {
  /** A page ends before the record that would exceed it; its first record may. */
  readonly targetBytes: number;
  /** A record larger than it is refused. */
  readonly maxBytes: number;
}

export const PAGE_BOUNDS: PageBounds = { targetBytes: 8 * 1024 * 1024, maxBytes: 32 * 1024 * 1024 };

/** Where agents and clients look for the name of a record. */
const RECORD_ID_KEY = 'qwen.session.recordId';

/** Shows a transcript. The mere end of a turn is left out: agents' own transcripts have none, and it tells nothing more. */
export function viewOf(
  sessionId: string,
  raw: readonly TranscriptRecord[],
  isPartial: boolean,
): TranscriptView {
  const records: TranscriptRecord[] = [];
  const positions = new Map<string, number>();
  let run: TextRun<TranscriptRecord> | undefined;
  const endRun = () => {
    if (run !== undefined) records.push(run.merged());
    run = undefined;
  };
  for (const record of raw) {
    const isShown = record.type !== 'turn_complete' && isOfTranscript(record.type, record.data);
    if (!isShown || run?.add(record) !== true) {
      endRun();
      if (isShown) run = new TextRun(record, MAX_RECORD_CHARS);
    }
    if (!positions.has(record.recordId)) positions.set(record.recordId, records.length);
  }
  endRun();
  return { sessionId, records, positions, isPartial };
}

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
 * One page, in the order in which things happened, whatever its direction. Following `nextCursor` shows every record of the
 * snapshot once.
 * @throws ApiError 400 `invalid_transcript_cursor`, `invalid_turn_anchor`; 409 `transcript_snapshot_unavailable` when a
 *   record that the query names has been dropped; 413 `transcript_page_too_large`.
 */
export function pageOf(view: TranscriptView, query: TranscriptQuery, bounds = PAGE_BOUNDS): TranscriptPage {
  const { start: asked, last: snapshot } = startOf(query);
  const records = withinSnapshot(view, snapshot);
  const direction = directionOf(asked);
  const from = positionOf(asked, view, records);
  const taken =
    direction === 'forward'
      ? takeForward(view, records, from, query.limit, bounds)
      : takeBackward(view, records, from, query.limit, bounds);
  const { start, events } = taken;
  const end = start + events.length;
  const hasMore = direction === 'forward' ? end < records.length : start > 0;
  const edge = records[direction === 'forward' ? end - 1 : start];
  const last = records.at(-1);
  return {
    v: 1,
    sessionId: view.sessionId,
    events,
    hasMore,
    ...(hasMore && edge !== undefined && last !== undefined
      ? { nextCursor: encodeCursor(edge.recordId, direction, last.recordId) }
      : {}),
    ...timesOf(records),
    ...(view.isPartial ? { partial: true } : {}),
    ...(asked.kind === 'at' ? { targetRecordId: asked.recordId, hasOlder: start > 0 } : {}),
  };
}

/** First and last known time, as answers show them. */
export function timesOf(records: readonly TranscriptRecord[]): {
  readonly startTime?: string;
  readonly lastUpdated?: string;
} {
  const first = records.find(({ atMs }) => atMs > 0);
  const last = records.findLast(({ atMs }) => atMs > 0);
  return {
    ...(first === undefined ? {} : { startTime: new Date(first.atMs).toISOString() }),
    ...(last === undefined ? {} : { lastUpdated: new Date(last.atMs).toISOString() }),
  };
}

/** The records up to the snapshot's last one. @throws ApiError 409 */
export function withinSnapshot(
  view: TranscriptView,
  snapshot: string | undefined,
): readonly TranscriptRecord[] {
  if (snapshot === undefined) return view.records;
  const last = view.positions.get(snapshot);
  if (last === undefined) throw snapshotGone(view.sessionId);
  return view.records.slice(0, last + 1);
}

/** Positions of the records that begin a turn. */
export function turnStarts(records: readonly TranscriptRecord[]): readonly number[] {
  const bounds = new TurnBounds();
  const starts: number[] = [];
  for (const [index, record] of records.entries()) {
    const wasOpen = bounds.isOpen;
    const { before } = bounds.see(record);
    const isUser = updateOf(record.data).sessionUpdate === 'user_message_chunk';
    if (isUser && (before || !wasOpen)) starts.push(index);
  }
  return starts;
}

function directionOf(start: PageStart): Direction {
  if (start.kind === 'cursor') return start.direction;
  return start.kind === 'last' || start.kind === 'before' ? 'backward' : 'forward';
}

/** First position of a forward page, or the one behind the last of a backward page. */
function positionOf(
  start: PageStart,
  { positions, sessionId }: TranscriptView,
  records: readonly TranscriptRecord[],
): number {
  switch (start.kind) {
    case 'first':
      return 0;
    case 'last':
      return records.length;
    case 'cursor': {
      const at = positions.get(start.recordId);
      if (at === undefined) throw snapshotGone(sessionId);
      return start.direction === 'forward' ? at + 1 : at;
    }
    case 'before': {
      const at = positions.get(start.recordId);
      if (at === undefined || at > records.length) throw invalidCursor('`beforeRecordId` names no record');
      return at;
    }
    case 'at': {
      const at = records.findIndex(({ recordId }) => recordId === start.recordId);
      if (at === -1 || !turnStarts(records).includes(at)) throw invalidAnchor();
      return at;
    }
  }
}

interface Taken {
  readonly start: number;
  readonly events: readonly JsonRecord[];
}

function takeForward(
  view: TranscriptView,
  records: readonly TranscriptRecord[],
  from: number,
  limit: number,
  bounds: PageBounds,
): Taken {
  return { start: from, events: fitting(view, records.slice(from, from + limit), bounds) };
}

function takeBackward(
  view: TranscriptView,
  records: readonly TranscriptRecord[],
  end: number,
  limit: number,
  bounds: PageBounds,
): Taken {
  const newestFirst = records.slice(Math.max(0, end - limit), end).reverse();
  const events = [...fitting(view, newestFirst, bounds)].reverse();
  return { start: end - events.length, events };
}

/** The events of as many records as fit, one at least. */
function fitting(
  { sessionId }: TranscriptView,
  records: readonly TranscriptRecord[],
  { targetBytes, maxBytes }: PageBounds,
): readonly JsonRecord[] {
  const events: JsonRecord[] = [];
  let bytes = 0;
  for (const record of records) {
    const event = eventOf(record);
    const size = Buffer.byteLength(JSON.stringify(event));
    if (events.length > 0 && bytes + size > targetBytes) break;
    if (size > maxBytes)
      throw fail('transcript_page_too_large', 'One record of the transcript is larger than a page may be', {
        sessionId,
        pageBytes: size,
        maxBytes,
      });
    bytes += size;
    events.push(event);
  }
  return events;
}

function eventOf({ recordId, atMs, data, type, ...tags }: TranscriptRecord): JsonRecord {
  const time = atMs > 0 ? { _meta: { serverTimestamp: atMs } } : {};
  return { v: 1, type, data: type === 'session_update' ? named(data, recordId) : data, ...tags, ...time };
}

/** The data with the record's name where clients look for it. */
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
