// Reads a file line by line, without having the file in memory as a whole, and without blocking the event loop for longer
// than the lines of one block take.
import type { FileHandle } from 'node:fs/promises';

const NEWLINE = 10;
const BLOCK_BYTES = 128 * 1024;

/** A complete line of a file, with its offsets in bytes. */
export interface Line {
  readonly text: string;
  readonly start: number;
  /** Offset behind the line's newline. */
  readonly end: number;
}

/**
 * Yields the complete lines between the offsets `from`, where a line begins, and `to`. All lines of a block that was read from
 * the file are yielded at once, because an `await` for each line would double the cost of a long file. Text behind the last
 * newline is left out: it is a torn line.
 */
export async function* lineBlocks(
  file: FileHandle,
  from: number,
  to: number,
): AsyncGenerator<readonly Line[]> {
  const block = Buffer.allocUnsafe(Math.min(BLOCK_BYTES, Math.max(0, to - from)));
  for (let start = from; start < to; ) {
    const { bytesRead } = await file.read(block, 0, Math.min(block.length, to - start), start);
    const lines = linesIn(block.subarray(0, bytesRead), start);
    if (lines.length === 0) {
      const line = await readLongLine(file, block, start, to);
      if (line === undefined) return;
      lines.push(line);
    }
    start = lines.at(-1)?.end ?? to;
    yield lines;
  }
}

function linesIn(bytes: Buffer, start: number): Line[] {
  const lines: Line[] = [];
  let begin = 0;
  for (let newline = bytes.indexOf(NEWLINE); newline !== -1; newline = bytes.indexOf(NEWLINE, begin)) {
    const text = bytes.toString('utf8', begin, newline);
    lines.push({ text, start: start + begin, end: start + newline + 1 });
    begin = newline + 1;
  }
  return lines;
}

/**
 * Reads a line that is longer than a block: first finds the end of the line, then reads the line in one piece, so that no part
 * is copied twice.
 */
async function readLongLine(
  file: FileHandle,
  block: Buffer,
  start: number,
  to: number,
): Promise<Line | undefined> {
  for (let at = start; at < to; ) {
    const { bytesRead } = await file.read(block, 0, Math.min(block.length, to - at), at);
    if (bytesRead === 0) return undefined;
    const newline = block.subarray(0, bytesRead).indexOf(NEWLINE);
    if (newline !== -1) {
      const bytes = await readWhole(file, start, at + newline);
      return bytes && { text: bytes.toString('utf8'), start, end: at + newline + 1 };
    }
    at += bytesRead;
  }
  return undefined;
}

async function readWhole(file: FileHandle, from: number, to: number): Promise<Buffer | undefined> {
  const bytes = Buffer.allocUnsafe(to - from);
  for (let filled = 0; filled < bytes.length; ) {
    const { bytesRead } = await file.read(bytes, filled, bytes.length - filled, from + filled);
    if (bytesRead === 0) return undefined;
    filled += bytesRead;
  }
  return bytes;
}

/** Calls `onLine` for each complete line among the first `bytes` of the file. Closes the file, also when `onLine` throws. */
export async function forEachLine(
  file: FileHandle,
  bytes: number,
  onLine: (line: string) => void,
): Promise<void> {
  try {
    for await (const lines of lineBlocks(file, 0, bytes)) for (const { text } of lines) onLine(text);
  } finally {
    await file.close();
  }
}
