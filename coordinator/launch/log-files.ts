// Reads the end of a daemon's log file, and rotates it. The daemon only appends to the file and does neither.
import {
  closeSync,
  copyFileSync,
  existsSync,
  fstatSync,
  openSync,
  readSync,
  renameSync,
  rmSync,
  statSync,
  truncateSync,
} from 'node:fs';

const TAIL_BYTES = 64 * 1024;

/**
 * Rotates the log when it is larger than `maxBytes`: copies its content to `<path>.1` (older parts move to .2, .3, up to `keep`)
 * and truncates it. The daemon keeps its descriptor and goes on at the new end, because it appends. What the daemon writes
 * between copy and truncation is lost; that is some hundred microseconds a rotation.
 * @returns whether the log was rotated; false for a missing log.
 */
export function rotateIfLarge(path: string, maxBytes: number, keep: number): boolean {
  const stats = statSync(path, { throwIfNoEntry: false });
  if (stats === undefined || stats.size <= maxBytes) return false;
  if (keep > 0) {
    rmSync(`${path}.${keep}`, { force: true });
    for (let n = keep - 1; n >= 1; n--) {
      if (existsSync(`${path}.${n}`)) renameSync(`${path}.${n}`, `${path}.${n + 1}`);
    }
    copyFileSync(path, `${path}.1`);
  }
  truncateSync(path);
  return true;
}

/** The last `maxLines` lines of the log, oldest first, from at most its last 64 KiB; empty when there is no log. Never throws. */
export function tail(path: string, maxLines: number): readonly string[] {
  if (maxLines <= 0) return [];
  try {
    const { text, isFromStart } = readEnd(path);
    const lines = text.replace(/\n$/, '').split('\n');
    // The first line is incomplete when reading began in its middle: dropped, unless it is the only line.
    if (!isFromStart && lines.length > 1) lines.shift();
    return text === '' ? [] : lines.slice(-maxLines);
  } catch {
    // There is no log yet, or it cannot be read: the same as a log without lines.
    return [];
  }
}

function readEnd(path: string): { readonly text: string; readonly isFromStart: boolean } {
  const fd = openSync(path, 'r');
  try {
    const { size } = fstatSync(fd);
    const start = Math.max(0, size - TAIL_BYTES);
    const buffer = Buffer.alloc(size - start);
    const read = readSync(fd, buffer, 0, buffer.length, start);
    return { text: buffer.toString('utf8', 0, read), isFromStart: start === 0 };
  } finally {
    closeSync(fd);
  }
}
