// Replaces a transcript's file that has outgrown its bound by the compacted file, while the recording goes on.
import { readSync, renameSync, rmSync, statSync, writeSync } from 'node:fs';
import { compact, newPathOf } from './compaction.ts';
import { withFilesSync } from './file-pair.ts';
import { metaLine, type TranscriptMeta } from './transcript-file.ts';

const COPY_BYTES = 256 * 1024;

export interface CompactionSwap {
  readonly path: string;
  /** The newest statement of the file's session. */
  readonly meta: TranscriptMeta;
  /** Bound of the compacted file, not counting what is recorded while it is written. */
  readonly targetBytes: number;
  /**
   * Called when the compacted file is complete: writes everything that was recorded until now to the old file.
   * @returns the statement that then holds; undefined when the transcript was removed meanwhile.
   */
  readonly settle: () => TranscriptMeta | undefined;
  /** Called in the same tick as `settle`, when the compacted file has replaced the old one. */
  readonly swapped: (meta: TranscriptMeta) => void;
}

/**
 * Compacts the file and replaces it by the result, unless the file was removed or replaced meanwhile.
 * @throws the system's error; the file is then as it was.
 */
export async function swapForCompacted(swap: CompactionSwap): Promise<void> {
  const { path, meta, targetBytes } = swap;
  const bytes = sizeOf(path);
  const inode = inodeOf(path);
  const newPath = newPathOf(path);
  try {
    const dropped = await compact(path, bytes, targetBytes, meta);
    // From here to the rename in one tick, so that nothing is appended to the old file meanwhile.
    const settled = swap.settle();
    if (settled === undefined || inodeOf(path) !== inode) return;
    const current = { ...settled, dropped };
    appendTail(path, bytes, newPath, metaLine(current));
    renameSync(newPath, path);
    swap.swapped(current);
  } finally {
    // A compacted file that did not replace the old one is of no use.
    rmSync(newPath, { force: true });
  }
}

/** Size of the file in bytes; 0 when there is none. */
export function sizeOf(path: string): number {
  return statSync(path, { throwIfNoEntry: false })?.size ?? 0;
}

/** The inode of the file at `path`, by which a later file at the same path is told apart; undefined without a file. */
function inodeOf(path: string): number | undefined {
  return statSync(path, { throwIfNoEntry: false })?.ino;
}

/** Appends to `target` the bytes of `source` from the offset `from` on, then `statement`. */
function appendTail(source: string, from: number, target: string, statement: string): void {
  const block = Buffer.allocUnsafe(COPY_BYTES);
  withFilesSync(source, target, (input, output) => {
    for (let at = from; ; ) {
      const count = readSync(input, block, 0, block.length, at);
      if (count === 0) break;
      writeWhole(output, block.subarray(0, count));
      at += count;
    }
    writeWhole(output, Buffer.from(statement));
  });
}

function writeWhole(fd: number, bytes: Buffer): void {
  for (let written = 0; written < bytes.length; )
    written += writeSync(fd, bytes, written, bytes.length - written);
}
