// The indexes of the transcripts that clients page through: an index is made with the first request for a transcript, shared
// by further requests, and dropped soon after the last one.
import { type FileHandle, open } from 'node:fs/promises';
import type { Clock, Timer } from '../contract/clock.ts';
import type { TranscriptSource } from './paging.ts';
import { sourceIn, TranscriptIndex } from './transcript-index.ts';

/** How long an unused index is kept: long enough for the next page of a client that follows cursors. */
const KEPT_MS = 10_000;

/** Most memory of all indexes together: some 400,000 records. Over this, the least recently used indexes are dropped. */
const MAX_MEMORY_BYTES = 16 * 1024 * 1024;

interface Entry {
  /** Inode and birth time of the file that is indexed, because a compacted file is another file under the same path. */
  readonly file: string;
  readonly index: TranscriptIndex;
  growth: Promise<void>;
  expiry: Timer | undefined;
}

export class TranscriptIndexes {
  readonly #clock: Clock;
  readonly #maxMemoryBytes: number;
  /** The index of each path, the least recently used first. */
  readonly #entries = new Map<string, Entry>();

  constructor(clock: Clock, maxMemoryBytes = MAX_MEMORY_BYTES) {
    this.#clock = clock;
    this.#maxMemoryBytes = maxMemoryBytes;
  }

  /** About how much memory all indexes take, in bytes. */
  get memoryBytes(): number {
    return [...this.#entries.values()].reduce((sum, { index }) => sum + index.memoryBytes, 0);
  }

  /**
   * Calls `use` with the transcript in the file, as it is now. The transcript can be read until the promise of `use` is settled.
   * @throws the system's error, and what `use` throws.
   */
  async using<T>(path: string, sessionId: string, use: (source: TranscriptSource) => Promise<T>): Promise<T> {
    const file = await open(path, 'r');
    try {
      const index = await this.#indexOf(path, file);
      return await use(sourceIn(file, index, sessionId));
    } finally {
      await file.close();
    }
  }

  async #indexOf(path: string, file: FileHandle): Promise<TranscriptIndex> {
    const { ino, birthtimeMs, size } = await file.stat();
    const entry = this.#entryOf(path, `${ino}/${birthtimeMs}`, size);
    const { index } = entry;
    // Growths of one index go one after the other, so that requests at the same time read each part of the file once.
    const grown = entry.growth.then(() => index.grow(file, size));
    entry.growth = grown.catch(() => undefined);
    await grown;
    this.#makeRoom();
    return index;
  }

  #entryOf(path: string, file: string, size: number): Entry {
    const known = this.#entries.get(path);
    known?.expiry?.cancel();
    const isCurrent = known?.file === file && known.index.fileBytes <= size;
    const entry: Entry = isCurrent
      ? known
      : { file, index: new TranscriptIndex(), growth: Promise.resolve(), expiry: undefined };
    entry.expiry = this.#clock.after(KEPT_MS, () => {
      if (this.#entries.get(path) === entry) this.#entries.delete(path);
    });
    this.#entries.delete(path);
    this.#entries.set(path, entry);
    return entry;
  }

  #makeRoom(): void {
    for (const [path, entry] of this.#entries) {
      if (this.memoryBytes <= this.#maxMemoryBytes) return;
      entry.expiry?.cancel();
      this.#entries.delete(path);
    }
  }
}
