// The turn index of a transcript, a table of contents: for each turn the record to jump to and a line to show.
import { asRecord } from '../contract/json-record.ts';
import { updateOf } from './transcript.ts';
import { lengthWithin, timesOf } from './transcript-page.ts';
import {
  decodeSnapshot,
  encodeSnapshot,
  invalidCursor,
  parsePageLimit,
  parseSnapshot,
} from './transcript-page-query.ts';
import {
  outlineOf,
  type TranscriptOutline,
  type TranscriptRecord,
  type TranscriptView,
} from './transcript-view.ts';

const MAX_LABEL_CHARS = 120;

export interface TurnIndexQuery {
  /** Opaque text of the snapshot, as an earlier answer had it. */
  readonly snapshot?: string;
  /** Ordinal of the first turn to show. */
  readonly start: number;
  readonly limit: number;
}

/** Parses the query. @throws ApiError 400 `invalid_transcript_limit`, `invalid_transcript_cursor`. */
export function parseTurnIndexQuery(query: URLSearchParams): TurnIndexQuery {
  const limit = parsePageLimit(query.get('limit'));
  const start = query.get('start') ?? '0';
  if (!/^\d{1,9}$/.test(start)) throw invalidCursor('`start` must be a whole number from 0');
  return { limit, start: Number(start), ...parseSnapshot(query) };
}

export interface TurnIndexEntry {
  /** Counted from 0. */
  readonly ordinal: number;
  /** Id of the turn's first record, which a transcript request takes as `atRecordId`. */
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

/** The turn index of a transcript that is in memory. @throws ApiError 409 `transcript_snapshot_unavailable`. */
export function turnIndexOf(view: TranscriptView, query: TurnIndexQuery): TurnIndex {
  const asked = new AskedTurns(outlineOf(view), query);
  return asked.answer(asked.questions.map(({ from, to }) => view.records.slice(from, to)).map(turnEntryOf));
}

export type TurnEntry = Omit<TurnIndexEntry, 'ordinal'>;

/** Selects the turns that a query asks for, and makes the answer once their records have been read. */
export class AskedTurns {
  readonly #outline: TranscriptOutline;
  readonly #length: number;
  readonly #start: number;
  readonly #totalTurns: number;
  /** For each turn that the query asks for, the records of the person's prompt: indices `from` up to but not `to`. */
  readonly questions: readonly { readonly from: number; readonly to: number }[];

  constructor(outline: TranscriptOutline, { snapshot, start, limit }: TurnIndexQuery) {
    this.#outline = outline;
    this.#length = lengthWithin(outline, snapshot === undefined ? undefined : decodeSnapshot(snapshot));
    this.#start = start;
    const starts: number[] = [];
    for (let at = 0; at < this.#length; at += 1) if (outline.kindAt(at) === 'start') starts.push(at);
    this.#totalTurns = starts.length;
    this.questions = starts.slice(start, start + limit).map((from) => ({ from, to: this.#endOf(from) }));
  }

  /** The turn index. @param entries one for each of `questions`, in order. */
  answer(entries: readonly TurnEntry[]): TurnIndex {
    return {
      v: 1,
      sessionId: this.#outline.sessionId,
      snapshot: encodeSnapshot(this.#outline.recordIdAt(this.#length - 1)),
      totalTurns: this.#totalTurns,
      start: this.#start,
      turns: entries.map((entry, index) => ({ ordinal: this.#start + index, ...entry })),
      ...timesOf(this.#outline, this.#length),
    };
  }

  #endOf(from: number): number {
    let to = from + 1;
    while (to < this.#length && this.#outline.kindAt(to) === 'question') to += 1;
    return to;
  }
}

/** The index entry of a turn. @param question the records at the turn's beginning that the person sent. */
export function turnEntryOf(question: readonly TranscriptRecord[]): TurnEntry {
  const { recordId = '', promptId, atMs = 0 } = question[0] ?? {};
  return {
    turnId: recordId,
    kind: 'prompt',
    ...(promptId === undefined ? {} : { promptId }),
    ...(atMs > 0 ? { timestamp: new Date(atMs).toISOString() } : {}),
    label: labelOf(question),
  };
}

/** The label of a turn: the beginning of what the person sent, as one line of at most MAX_LABEL_CHARS. */
function labelOf(question: readonly TranscriptRecord[]): string {
  const texts = question.map(({ data }) => {
    const { text, type } = asRecord(updateOf(data).content);
    return typeof text === 'string' ? text : `[${String(type)}]`;
  });
  const line = texts.join(' ').replace(/\s+/g, ' ').trim();
  return line.length <= MAX_LABEL_CHARS ? line : `${line.slice(0, MAX_LABEL_CHARS - 1).trimEnd()}…`;
}
