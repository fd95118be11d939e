// An index of a transcript's file: the offset of each shown record, as columns of plain numbers: some 50 bytes for a record,
// however long its text is. The index grows with the file and reads no part of the file twice.
import type { FileHandle } from 'node:fs/promises';
import { MAX_RECORD_CHARS, TextSpan } from '../domain/transcript.ts';
import {
  isShown,
  type RecordKind,
  RecordKinds,
  Showing,
  type TranscriptOutline,
  type TranscriptRecord,
} from '../domain/transcript-view.ts';
import { type Line, lineBlocks } from './line-reader.ts';
import type { TranscriptSource } from './paging.ts';
import { parseLine } from './transcript-file.ts';

const KINDS: readonly RecordKind[] = ['other', 'question', 'start'];
const COLUMN_BYTES = 5 * 8;

/** How much of the file is read at once for a backward page. */
const BACKWARD_BYTES = 1024 * 1024;

export class TranscriptIndex {
  /** The columns, with one entry for each shown record: ids of its first and last event, offset, time, index in KINDS. */
  readonly #ids: number[] = [];
  readonly #lastIds: number[] = [];
  readonly #offsets: number[] = [];
  readonly #times: number[] = [];
  readonly #kinds: number[] = [];
  readonly #seen = new RecordKinds();
  /** The text of the newest shown record, which the next event may continue; undefined when no event can continue it. */
  #open: TextSpan | undefined;
  #firstId = Number.POSITIVE_INFINITY;
  #lastId = 0;
  #fileBytes = 0;
  #hasDamage = false;
  #hasDropped = false;

  /** How many bytes of the file, from its beginning, the index covers. */
  get fileBytes(): number {
    return this.#fileBytes;
  }

  /** About how much memory the index takes, in bytes. */
  get memoryBytes(): number {
    return this.#ids.length * COLUMN_BYTES;
  }

  /**
   * Adds the complete lines between `fileBytes` and `to`. Not to be called again before the promise is settled.
   * @throws the system's error.
   */
  async grow(file: FileHandle, to: number): Promise<void> {
    for await (const lines of lineBlocks(file, this.#fileBytes, to))
      for (const line of lines) this.#add(line);
  }

  /** The outline of the records that are in the index now, with as many records however the index grows. */
  outline(sessionId: string): TranscriptOutline {
    return {
      sessionId,
      isPartial: this.#hasDamage || this.#hasDropped,
      length: this.#ids.length,
      recordIdAt: (at) => String(this.#ids[at] ?? ''),
      atMsAt: (at) => this.#times[at] ?? 0,
      kindAt: (at) => KINDS[this.#kinds[at] ?? 0] ?? 'other',
      positionOf: (recordId) => this.#positionOf(recordId),
    };
  }

  /** The part of the file that has the lines of the records at the positions `from` up to but not `to`. */
  spanOf(from: number, to: number): { readonly start: number; readonly end: number } {
    return { start: this.#offsets[from] ?? this.#fileBytes, end: this.#offsets[to] ?? this.#fileBytes };
  }

  #add({ text, start, end }: Line): void {
    this.#fileBytes = end;
    const parsed = parseLine(text);
    if (parsed === undefined) this.#hasDamage = true;
    else if ('meta' in parsed) this.#hasDropped = parsed.meta.dropped.events > 0;
    else if (parsed.id <= this.#lastId) this.#hasDamage = true;
    else this.#addRecord(parsed.record, parsed.id, start);
  }

  #addRecord(record: TranscriptRecord, id: number, start: number): void {
    this.#firstId = Math.min(this.#firstId, id);
    this.#lastId = id;
    if (!isShown(record)) {
      this.#open = undefined;
      return;
    }
    if (this.#open?.extend(record) === true) {
      this.#lastIds[this.#lastIds.length - 1] = id;
      return;
    }
    this.#open = new TextSpan(record, MAX_RECORD_CHARS);
    this.#ids.push(id);
    this.#lastIds.push(id);
    this.#offsets.push(start);
    this.#times.push(record.atMs);
    this.#kinds.push(KINDS.indexOf(this.#seen.see(record)));
  }

  /** Position of the shown record with the event `recordId`, else of the next shown record. Searches, because ids only grow. */
  #positionOf(recordId: string): number | undefined {
    const id = Number(recordId);
    if (String(id) !== recordId || !(id >= this.#firstId && id <= this.#lastId)) return undefined;
    let [low, high] = [0, this.#ids.length];
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.#ids[middle] as number) <= id) low = middle + 1;
      else high = middle;
    }
    return low > 0 && id <= (this.#lastIds[low - 1] as number) ? low - 1 : low;
  }
}

/** The transcript in an open file, up to where the index covers the file now. */
export function sourceIn(file: FileHandle, index: TranscriptIndex, sessionId: string): TranscriptSource {
  async function* read(from: number, to: number): AsyncGenerator<TranscriptRecord> {
    const { start, end } = index.spanOf(from, to);
    const showing = new Showing();
    for await (const record of recordsIn(file, start, end)) {
      const done = showing.add(record);
      if (done !== undefined) yield done;
    }
    const last = showing.end();
    if (last !== undefined) yield last;
  }

  async function* readBackward(from: number, to: number): AsyncGenerator<TranscriptRecord> {
    for (let high = to; high > from; ) {
      let low = high - 1;
      const { end } = index.spanOf(low, high);
      while (low > from && end - index.spanOf(low - 1, high).start <= BACKWARD_BYTES) low -= 1;
      const records: TranscriptRecord[] = [];
      for await (const record of read(low, high)) records.push(record);
      yield* records.reverse();
      high = low;
    }
  }

  return { outline: index.outline(sessionId), read, readBackward };
}

async function* recordsIn(file: FileHandle, start: number, end: number): AsyncGenerator<TranscriptRecord> {
  for await (const lines of lineBlocks(file, start, end)) {
    for (const { text } of lines) {
      const parsed = parseLine(text);
      if (parsed !== undefined && 'record' in parsed) yield parsed.record;
    }
  }
}
