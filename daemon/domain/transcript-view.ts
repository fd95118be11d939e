// What is shown of a transcript: records of its own. The chunks of one text are one record, named by its first chunk, so that
// the names hold while the text grows and after the file was compacted.
import type { JsonRecord } from '../contract/json-record.ts';
import { isOfTranscript, isTerminal, MAX_RECORD_CHARS, TextRun, TurnBounds, updateOf } from './transcript.ts';

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

/** What is known of a transcript before any of its records is read; they are counted from 0. */
export interface TranscriptOutline {
  readonly sessionId: string;
  readonly isPartial: boolean;
  readonly length: number;
  recordIdAt(at: number): string;
  /** 0 where it is not known. */
  atMsAt(at: number): number;
  kindAt(at: number): RecordKind;
  /** Where the record is; of one that is not shown, where the next one is. Undefined when there is none of the name. */
  positionOf(recordId: string): number | undefined;
}

/** `question`: what the person sent, of which a turn's first is its `start`. */
export type RecordKind = 'start' | 'question' | 'other';

/** Whether the record is shown. The mere end of a turn is not: agents' own transcripts have none, and it tells nothing more. */
export function isShown({ type, data }: TranscriptRecord): boolean {
  return type !== 'turn_complete' && isOfTranscript(type, data);
}

/** Makes the records that are shown of those that are kept. */
export class Showing {
  #run: TextRun<TranscriptRecord> | undefined;

  /** @returns the record that is complete now, where one is. */
  add(record: TranscriptRecord): TranscriptRecord | undefined {
    const isToShow = isShown(record);
    if (isToShow && this.#run?.add(record) === true) return undefined;
    const done = this.end();
    if (isToShow) this.#run = new TextRun(record, MAX_RECORD_CHARS);
    return done;
  }

  end(): TranscriptRecord | undefined {
    const done = this.#run?.merged();
    this.#run = undefined;
    return done;
  }
}

/** Shows a transcript that is held whole. */
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

/** Tells the kinds of shown records, one after the other. */
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
