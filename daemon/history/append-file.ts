// A transcript's file, opened to append to its end. Written with plain system calls, so that what was appended survives a
// kill of this process.
import { closeSync, fstatSync, ftruncateSync, mkdirSync, openSync, writeSync } from 'node:fs';
import { dirname } from 'node:path';
import { type FileEnds, readEnds } from './transcript-file.ts';

export class AppendFile {
  readonly path: string;
  readonly ends: FileEnds;
  #fd: number | undefined;
  #sizeBytes: number;

  /**
   * Opens the file, creates it and its directory where they are missing, cuts off a torn last line.
   * @throws the system's error.
   */
  constructor(path: string) {
    this.path = path;
    mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
    const fd = openSync(path, 'a+', 0o600);
    try {
      const { size } = fstatSync(fd);
      this.ends = readEnds(fd, size);
      // A file without a readable statement cannot be attributed to a session: it is emptied.
      this.#sizeBytes = this.ends.meta === undefined ? 0 : this.ends.wholeBytes;
      if (this.#sizeBytes !== size) ftruncateSync(fd, this.#sizeBytes);
      this.#fd = fd;
    } catch (error) {
      closeSync(fd);
      throw error;
    }
  }

  get sizeBytes(): number {
    return this.#sizeBytes;
  }

  /** Writes the whole text. @throws the system's error; the file may then end in a torn line. */
  append(text: string): void {
    if (this.#fd === undefined) return;
    const byteLength = Buffer.byteLength(text);
    // One call nearly always writes the whole text, without a buffer; full disks and quotas cause short writes.
    let written = writeSync(this.#fd, text);
    if (written < byteLength) {
      const bytes = Buffer.from(text);
      while (written < byteLength) written += writeSync(this.#fd, bytes, written, byteLength - written);
    }
    this.#sizeBytes += byteLength;
  }

  /** Closes the file; `append` does nothing from then on. Idempotent. Never throws: a failed close leaves nothing to do. */
  close(): void {
    if (this.#fd === undefined) return;
    try {
      closeSync(this.#fd);
    } catch {
      // The descriptor is gone either way.
    }
    this.#fd = undefined;
  }
}
