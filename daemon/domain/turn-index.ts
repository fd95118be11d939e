// The turns of a transcript as a table of contents: each with the record to jump to and a line to show.
import { asRecord } from './records.ts';
import { isTerminal, updateOf } from './transcript.ts';
import {
  type TranscriptRecord,
  type TranscriptView,
  timesOf,
  turnStarts,
  withinSnapshot,
} from './transcript-page.ts';
import {
  decodeSnapshot,
  encodeSnapshot,
  invalidCursor,
  parseLimit,
  parseSnapshot,
} from './transcript-page-query.ts';

const MAX_LABEL_CHARS = 120;

export interface TurnIndexQuery {
  /** Opaque, as it was given out. */
  readonly snapshot?: string;
  /** Ordinal of the first turn to show. */
  readonly start: number;
  readonly limit: number;
}

/** @throws ApiError 400 `invalid_transcript_limit`, `invalid_transcript_cursor`. */
export function parseTurnIndexQuery(query: URLSearchParams): TurnIndexQuery {
  const limit = parseLimit(query.get('limit'));
  const start = query.get('start') ?? '0';
  if (!/^\d{1,9}$/.test(start)) throw invalidCursor('`start` must be a whole number from 0');
  return { limit, start: Number(start), ...parseSnapshot(query) };
}

export interface TurnIndexEntry {
  /** Counted from 0. */
  readonly ordinal: number;
  /** Record that begins the turn: an `atRecordId` of the transcript. */
  readonly turnId: string;
  readonly kind: 'prompt';
  readonly promptId?: string;
  readonly timestamp?: string;
  readonly label: string;
}

export interface TurnIndex {
  readonly v: 1;
  readonly sessionId: string;
  readonly snapshot: string;
  readonly totalTurns: number;
  readonly start: number;
  readonly turns: readonly TurnIndexEntry[];
  readonly startTime?: string;
  readonly lastUpdated?: string;
}

/** @throws ApiError 409 `transcript_snapshot_unavailable`. */
export function turnIndexOf(view: TranscriptView, { snapshot, start, limit }: TurnIndexQuery): TurnIndex {
  const records = withinSnapshot(view, snapshot === undefined ? undefined : decodeSnapshot(snapshot));
  const starts = turnStarts(records);
  const turns = starts.slice(start, start + limit).map((at, index) => {
    const ordinal = start + index;
    return entryOf(ordinal, records.slice(at, starts[ordinal + 1] ?? records.length));
  });
  return {
    v: 1,
    sessionId: view.sessionId,
    snapshot: encodeSnapshot(records.at(-1)?.recordId ?? ''),
    totalTurns: starts.length,
    start,
    turns,
    ...timesOf(records),
  };
}

function entryOf(ordinal: number, turn: readonly TranscriptRecord[]): TurnIndexEntry {
  const { recordId = '', promptId, atMs = 0 } = turn[0] ?? {};
  return {
    ordinal,
    turnId: recordId,
    kind: 'prompt',
    ...(promptId === undefined ? {} : { promptId }),
    ...(atMs > 0 ? { timestamp: new Date(atMs).toISOString() } : {}),
    label: labelOf(turn),
  };
}

/** The beginning of what the person wrote, in one line. */
function labelOf(turn: readonly TranscriptRecord[]): string {
  const texts: string[] = [];
  for (const { type, data } of turn) {
    const { sessionUpdate, content } = updateOf(data);
    if (isTerminal(type) || sessionUpdate !== 'user_message_chunk') break;
    const { text, type: kind } = asRecord(content);
    texts.push(typeof text === 'string' ? text : `[${String(kind)}]`);
  }
  const line = texts.join(' ').replace(/\s+/g, ' ').trim();
  return line.length <= MAX_LABEL_CHARS ? line : `${line.slice(0, MAX_LABEL_CHARS - 1).trimEnd()}…`;
}
