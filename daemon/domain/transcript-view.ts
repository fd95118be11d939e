// The view of a transcript: its records as clients are shown them. The chunks of one text are one record, with the id of the
// first chunk, so that a record's id stays valid while its text grows and after the transcript's file was compacted.
import type { JsonRecord } from '../contract/json-record.ts';
import { isOfTranscript, isTerminal, MAX_RECORD_CHARS, TextRun, TurnBounds, updateOf } from './transcript.ts';

/** A record of a transcript, whether the daemon or the agent keeps the transcript. */
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
  /** Index in `records` by record id; for a record that is not shown, the index of the next shown record. */
  readonly positions: ReadonlyMap<string, number>;
  /** Whether some part of the transcript could not be read, or its oldest part has been dropped. */
  readonly isPartial: boolean;
}

/** What can be known of a transcript without its records in memory. Positions of shown records are counted from 0. */
export interface TranscriptOutline {
  readonly sessionId: string;
  readonly isPartial: boolean;
  readonly length: number;
  recordIdAt(at: number): string;
  /** Epoch ms; 0 where the time is not known. */
  atMsAt(at: number): number;
  kindAt(at: number): RecordKind;
  /** Position of a record; for a record that is not shown, of the next shown record; undefined for an unknown id. */
  positionOf(recordId: string): number | undefined;
}

/** `start`: the first record that the person sent in a turn; `question`: every further record that the person sent. */
export type RecordKind = 'start' | 'question' | 'other';

/** Whether clients are shown the record. A `turn_complete` is not shown: transcripts that agents keep have none. */
export function isShown({ type, data }: TranscriptRecord): boolean {
  return type !== 'turn_complete' && isOfTranscript(type, data);
}

/** Makes the shown records out of the stored ones, which are added one after the other: merges the chunks of each text. */
export class Showing {
  #run: TextRun<TranscriptRecord> | undefined;

  /** Takes the next stored record. @returns the shown record that is complete with it; undefined while none is complete. */
  add(record: TranscriptRecord): TranscriptRecord | undefined {
    const isToShow = isShown(record);
    if (isToShow && this.#run?.add(record) === true) return undefined;
    const done = this.end();
    if (isToShow) this.#run = new TextRun(record, MAX_RECORD_CHARS);
    return done;
  }

  /** Ends the open shown record. @returns that record; undefined when none is open. */
  end(): TranscriptRecord | undefined {
    const done = this.#run?.merged();
    this.#run = undefined;
    return done;
  }
}

/** The view of a transcript of which all records are in memory. @param raw the records as they are stored. */
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

/** Finds the kind of each shown record. `see` is to be called with all shown records, in their order. */
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
