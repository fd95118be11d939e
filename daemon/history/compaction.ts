// Makes a transcript that has outgrown its bound small again: the chunks of each text become one record, and what is then
// still too much goes from the beginning, turn by turn. Works on the file beside the recording, block by block.
import { type FileHandle, open, rm } from 'node:fs/promises';
import { TextRun, TurnBounds } from '../domain/transcript.ts';
import type { HistoryRecord } from './history.ts';
import { forEachLine } from './line-reader.ts';
import { lineOfRecord, metaLine, parseLine, type TranscriptMeta } from './transcript-file.ts';

const BLOCK_BYTES = 256 * 1024;

export interface Compacted {
  /** The new file, complete up to `sourceBytes` of the old one and on disk; not yet in its place. */
  readonly path: string;
  readonly sourceBytes: number;
  readonly dropped: TranscriptMeta['dropped'];
}

/** Where the merged text may be cut: behind a record, best behind a turn. */
interface Cut {
  readonly offset: number;
  readonly events: number;
  readonly turns: number;
  readonly isTurnEnd: boolean;
}

/** Rewrites the first `sourceBytes` of `path` to at most `targetBytes`. @throws the system's error. */
export async function compact(
  path: string,
  sourceBytes: number,
  targetBytes: number,
  meta: TranscriptMeta,
): Promise<Compacted> {
  const mergedPath = `${path}.merged.tmp`;
  const newPath = `${path}.new.tmp`;
  try {
    const cuts = await writeMerged(path, sourceBytes, mergedPath);
    const cut = chooseCut(cuts, targetBytes);
    const dropped = {
      turns: meta.dropped.turns + cut.turns,
      events: meta.dropped.events + cut.events,
    };
    await writeNew(mergedPath, cut.offset, newPath, metaLine({ ...meta, dropped }));
    return { path: newPath, sourceBytes, dropped };
  } finally {
    await rm(mergedPath, { force: true });
  }
}

async function writeMerged(source: string, sourceBytes: number, target: string): Promise<readonly Cut[]> {
  const file = await open(target, 'w', 0o600);
  const merging = new Merging();
  try {
    await forEachLine(await open(source, 'r'), sourceBytes, async (line) => {
      const parsed = parseLine(line);
      // Statements are summed up in the new header; unreadable lines end here.
      if (parsed === undefined || 'meta' in parsed) return;
      merging.add(parsed.record);
      if (merging.heldBytes >= BLOCK_BYTES) await file.appendFile(merging.take());
    });
    merging.end();
    await file.appendFile(merging.take());
    return merging.cuts;
  } finally {
    await file.close();
  }
}

class Merging {
  readonly cuts: Cut[] = [];
  readonly #bounds = new TurnBounds();
  #run: TextRun<HistoryRecord> | undefined;
  #held: string[] = [];
  heldBytes = 0;
  #offset = 0;
  #turns = 0;

  add(record: HistoryRecord): void {
    const { before, after } = this.#bounds.see(record);
    if (before) this.end();
    if (this.#run?.add(record) !== true) {
      this.#emit(false);
      this.#run = new TextRun(record);
    }
    if (after) this.end();
  }

  /** A turn ends here. */
  end(): void {
    this.#emit(true);
  }

  take(): string {
    const text = this.#held.join('');
    this.#held = [];
    this.heldBytes = 0;
    return text;
  }

  #emit(isTurnEnd: boolean): void {
    if (this.#run === undefined) return;
    const line = lineOfRecord(this.#run.merged());
    this.#run = undefined;
    const bytes = Buffer.byteLength(line);
    this.#held.push(line);
    this.heldBytes += bytes;
    this.#offset += bytes;
    if (isTurnEnd) this.#turns += 1;
    this.cuts.push({ offset: this.#offset, events: this.cuts.length + 1, turns: this.#turns, isTurnEnd });
  }
}

/** The smallest cut after which the rest fits; a turn is cut through only where the newest one alone is too large. */
function chooseCut(cuts: readonly Cut[], targetBytes: number): Cut {
  const none: Cut = { offset: 0, events: 0, turns: 0, isTurnEnd: true };
  const total = cuts.at(-1)?.offset ?? 0;
  const fits = (cut: Cut) => total - cut.offset <= targetBytes;
  if (fits(none)) return none;
  const atTurn = cuts.find((cut) => cut.isTurnEnd && cut.offset < total && fits(cut));
  return atTurn ?? cuts.find((cut) => cut.offset < total && fits(cut)) ?? cuts.at(-1) ?? none;
}

async function writeNew(source: string, from: number, target: string, header: string): Promise<void> {
  const [input, output] = [await open(source, 'r'), await open(target, 'w', 0o600)];
  try {
    await output.appendFile(header);
    await copyFrom(input, from, output);
    await output.sync();
  } finally {
    await input.close();
    await output.close();
  }
}

async function copyFrom(input: FileHandle, from: number, output: FileHandle): Promise<void> {
  const block = Buffer.allocUnsafe(BLOCK_BYTES);
  for (let at = from; ; ) {
    const { bytesRead } = await input.read(block, 0, block.length, at);
    if (bytesRead === 0) return;
    await output.appendFile(block.subarray(0, bytesRead));
    at += bytesRead;
  }
}
