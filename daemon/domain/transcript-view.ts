// The records of a transcript as clients are shown them. The chunks of one text are one record, named by its first chunk, so
// that a record's name stays valid while its text grows and after the file was compacted.
import type { JsonRecord } from '../contract/json-record.ts';
import { isOfTranscript, isTerminal, MAX_RECORD_CHARS, TextRun, TurnBounds, updateOf } from './transcript.ts';

/** A record of a transcript, of our own file or of an agent's. */
export interface TranscriptRecord {
  readonly recordId: string;
  /** Epoch ms; 0 where the time is not known. */
  readonly atMs: number;
  readonly type: string;
  readonly data: JsonRecord;
  readonly promptId?: string;
  readonly originatorClientId?: string;
}

/** A session's whole transcript as a list of shown records. */
export interface TranscriptView {
  readonly sessionId: string;
  readonly records: readonly TranscriptRecord[];
  /** Index in `records` of every record by its name; for a record that is not shown, the index of the next shown record. */
  readonly positions: ReadonlyMap<string, number>;
  /** Some part could not be read, or the oldest part has been dropped. */
  readonly isPartial: boolean;
}

/** What is known of a transcript before any of its records is read. Positions of records are counted from 0. */
export interface TranscriptOutline {
  readonly sessionId: string;
  readonly isPartial: boolean;
  readonly length: number;
  recordIdAt(at: number): string;
  /** Epoch ms; 0 where the time is not known. */
  atMsAt(at: number): number;
  kindAt(at: number): RecordKind;
  /** The record's position; for a record that is not shown, that of the next shown record. Undefined for an unknown name. */
  positionOf(recordId: string): number | undefined;
}

/** `question`: what the person sent, of which a turn's first is its `start`. */
export type RecordKind = 'start' | 'question' | 'other';

/** Whether the record is shown. The plain end of a turn is not: agents' own transcripts do not have it, and it adds nothing. */
export function isShown({ type, data }: TranscriptRecord): boolean {
  return type !== 'turn_complete' && isOfTranscript(type, data);
}

/** Turns the records that are kept, one after the other, into the records that are shown. */
export class Showing {
  #run: TextRun<TranscriptRecord> | undefined;

  /** @returns the shown record that ends before this one; undefined when none does. */
  add(record: TranscriptRecord): TranscriptRecord | undefined {
    const isToShow = isShown(record);
    if (isToShow && this.#run?.add(record) === true) return undefined;
    const done = this.end();
    if (isToShow) this.#run = new TextRun(record, MAX_RECORD_CHARS);
    return done;
  }

  /** @returns the last shown record; undefined when there is none. */
  end(): TranscriptRecord | undefined {
    const done = this.#run?.merged();
    this.#run = undefined;
    return done;
  }
}

/** The view of a transcript of which all records are in memory. @param raw the records as they are kept. */
export function viewOf(
  sessionId: string,
  raw: readonly TranscriptRecord[],
  isPartial: boolean,
): TranscriptView {
  const records: TranscriptRecord[] = [];
  const positions = new Map<string, number>();
  const showing = new Showing();
  for (const record of raw) {
    const done = showing.add(record);
    if (done !== undefined) records.push(done);
    if (!positions.has(record.recordId)) positions.set(record.recordId, records.length);
  }
  const last = showing.end();
  if (last !== undefined) records.push(last);
  return { sessionId, records, positions, isPartial };
}

/** Finds the kind of each shown record, which are given to it in their order. */
export class RecordKinds {
  readonly #bounds = new TurnBounds();

  see(record: TranscriptRecord): RecordKind {
    const wasOpen = this.#bounds.isOpen;
    const { before } = this.#bounds.see(record);
    const isUser = updateOf(record.data).sessionUpdate === 'user_message_chunk';
    if (!isUser || isTerminal(record.type)) return 'other';
    return before || !wasOpen ? 'start' : 'question';
  }
}

/** The outline of a transcript of which all records are in memory. */
export function outlineOf({ sessionId, records, positions, isPartial }: TranscriptView): TranscriptOutline {
  let kinds: readonly RecordKind[] | undefined;
  const kindsOf = () => {
    const seen = new RecordKinds();
    return records.map((record) => seen.see(record));
  };
  return {
    sessionId,
    isPartial,
    length: records.length,
    recordIdAt: (at) => records[at]?.recordId ?? '',
    atMsAt: (at) => records[at]?.atMs ?? 0,
    kindAt: (at) => {
      kinds ??= kindsOf();
      return kinds[at] ?? 'other';
    },
    positionOf: (recordId) => positions.get(recordId),
  };
}
