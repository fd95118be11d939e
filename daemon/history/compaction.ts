// Compacts a transcript's file that has outgrown its bound: first merges the chunks of each text into one record, in a temporary
// merged file; if that is still too large, drops turns from the beginning. Reads block by block, while the recording goes on.
import { type FileHandle, rm } from 'node:fs/promises';
import { MAX_RECORD_CHARS, TextRun, TurnBounds } from '../domain/transcript.ts';
import { withFiles } from './file-pair.ts';
import type { HistoryRecord } from './history.ts';
import { type Line, lineBlocks } from './line-reader.ts';
import { lineOfRecord, metaLine, parseLine, type TranscriptMeta } from './transcript-file.ts';

const BLOCK_BYTES = 256 * 1024;

/** The part to drop from the beginning of the merged file: the offset of its end, and how many records and turns it has. */
interface Cut {
  readonly offset: number;
  readonly events: number;
  readonly turns: number;
}

const NOTHING: Cut = { offset: 0, events: 0, turns: 0 };

/** Largest share of the kept bytes that one merged record may take, so that of a too large text the newest part stays. */
const RECORD_SHARE = 1 / 4;

/** Path at which the compacted file is written, before it replaces the transcript's file at `path`. */
export function newPathOf(path: string): string {
  return `${path}.new.tmp`;
}

/**
 * Rewrites the first `sourceBytes` of `path` to at most `targetBytes`, in the file `newPathOf(path)`. The file is complete and
 * on disk when this resolves; when it rejects, the caller is to remove the file.
 * @returns the sum of all that compactions have dropped of the transcript, this one included.
 * @throws the system's error.
 */
export async function compact(
  path: string,
  sourceBytes: number,
  targetBytes: number,
  meta: TranscriptMeta,
): Promise<TranscriptMeta['dropped']> {
  const mergedPath = `${path}.merged.tmp`;
  try {
    const maxChars = Math.min(MAX_RECORD_CHARS, Math.ceil(targetBytes * RECORD_SHARE));
    const cut = (await writeMerged(path, sourceBytes, mergedPath, maxChars)).cutFor(targetBytes);
    const dropped = {
      turns: meta.dropped.turns + cut.turns,
      events: meta.dropped.events + cut.events,
    };
    await writeNew(mergedPath, cut.offset, newPathOf(path), metaLine({ ...meta, dropped }));
    return dropped;
  } finally {
    await rm(mergedPath, { force: true });
  }
}

/** A part of the merged file: its text, or the offsets of the part of the source that is copied unchanged. */
type Piece = string | { readonly start: number; readonly end: number };

async function writeMerged(
  source: string,
  sourceBytes: number,
  target: string,
  maxChars: number,
): Promise<Merging> {
  const merging = new Merging(maxChars);
  await withFiles(source, target, async (input, output) => {
    const write = async () => {
      for (const piece of merging.take()) {
        if (typeof piece === 'string') await output.appendFile(piece);
        else await copy(input, piece.start, piece.end, output);
      }
    };
    for await (const lines of lineBlocks(input, 0, sourceBytes)) {
      for (const line of lines) {
        merging.add(line);
        if (merging.pendingBytes >= BLOCK_BYTES) await write();
      }
    }
    merging.end();
    await write();
  });
  return merging;
}

class Merging {
  readonly #maxChars: number;
  readonly #bounds = new TurnBounds();
  #run: TextRun<HistoryRecord> | undefined;
  /**
   * The first line of `#run`, which is written unchanged if no record is merged into it. Of a line over BLOCK_BYTES only the
   * offsets in the source are kept.
   */
  #line: Piece = '';
  /** Merged pieces that `take` has not returned yet, and the sum of their bytes. */
  #pending: Piece[] = [];
  pendingBytes = 0;
  #offset = 0;
  /**
   * Offset of each record's end in the merged file, and the indexes of the records that end a turn. Plain numbers, because there
   * may be 100,000s of records.
   */
  readonly #ends: number[] = [];
  readonly #turnEnds: number[] = [];

  constructor(maxChars: number) {
    this.#maxChars = maxChars;
  }

  /** Takes the next line of the source. */
  add({ text, start, end }: Line): void {
    const parsed = parseLine(text);
    // Statements are left out, because the new file begins with one for all of them; unreadable lines are dropped.
    if (parsed === undefined || 'meta' in parsed) return;
    const { record } = parsed;
    const { before, after } = this.#bounds.see(record);
    if (before) this.end();
    if (this.#run?.add(record) !== true) {
      this.#emit();
      this.#run = new TextRun(record, this.#maxChars);
      this.#line = end - start > BLOCK_BYTES ? { start, end } : `${text}\n`;
    }
    if (after) this.end();
  }

  /** Ends the open turn at the last line that was added; does nothing if no line was added since the last end. */
  end(): void {
    if (this.#run === undefined) return;
    this.#emit();
    this.#turnEnds.push(this.#ends.length - 1);
  }

  /** Removes and returns the merged pieces; neighbouring texts are joined. */
  take(): readonly Piece[] {
    const pieces: Piece[] = [];
    let texts: string[] = [];
    for (const piece of this.#pending) {
      if (typeof piece === 'string') texts.push(piece);
      else {
        pieces.push(texts.join(''), piece);
        texts = [];
      }
    }
    this.#pending = [];
    this.pendingBytes = 0;
    return [...pieces, texts.join('')];
  }

  /** The smallest cut whose rest is at most `targetBytes`. Cuts inside a turn only if the newest turn alone is larger. */
  cutFor(targetBytes: number): Cut {
    const total = this.#offset;
    if (total <= targetBytes) return NOTHING;
    const isEnough = (index: number) => total - (this.#ends[index] as number) <= targetBytes;
    const isInside = (index: number) => index < this.#ends.length - 1;
    const atTurn = this.#turnEnds.find((index) => isInside(index) && isEnough(index));
    const index = atTurn ?? this.#ends.findIndex((_, at) => isEnough(at));
    const turns = this.#turnEnds.filter((end) => end <= index).length;
    return { offset: this.#ends[index] as number, events: index + 1, turns };
  }

  #emit(): void {
    if (this.#run === undefined) return;
    const piece = this.#run.isSingle ? this.#line : lineOfRecord(this.#run.merged());
    this.#run = undefined;
    this.#line = '';
    const bytes = typeof piece === 'string' ? Buffer.byteLength(piece) : piece.end - piece.start;
    this.#pending.push(piece);
    this.pendingBytes += bytes;
    this.#offset += bytes;
    this.#ends.push(this.#offset);
  }
}

async function writeNew(source: string, from: number, target: string, header: string): Promise<void> {
  await withFiles(source, target, async (input, output) => {
    await output.appendFile(header);
    await copy(input, from, Number.POSITIVE_INFINITY, output);
    await output.sync();
  });
}

/** Appends to `output` the bytes of `input` from the offset `from` up to `to` or the end of the file. */
async function copy(input: FileHandle, from: number, to: number, output: FileHandle): Promise<void> {
  const block = Buffer.allocUnsafe(Math.min(BLOCK_BYTES, to - from));
  for (let at = from; at < to; ) {
    const { bytesRead } = await input.read(block, 0, Math.min(block.length, to - at), at);
    if (bytesRead === 0) return;
    await output.appendFile(block.subarray(0, bytesRead));
    at += bytesRead;
  }
}
