// The events that a session keeps for replay. A reader is a cursor over the ring; nothing is copied per reader. Frames that
// were appended since the last read of the ring are encoded together: one buffer for all events of one read of the agent's
// output, not one for each event. Invariants: ids are contiguous and only grow; after a trim the ring has the newest events
// within both bounds, and never less than the newest one.

export interface RingBounds {
  readonly maxEvents: number;
  readonly maxBytes: number;
}

/** Frames after a cursor, as bytes for the stream. */
export interface Chunk {
  readonly bytes: Buffer;
  /** Id of the last frame in `bytes`: the reader's next cursor. */
  readonly to: number;
}

/** Number of chunks kept for readers at the same cursor. Readers of one session stand at a handful of cursors at a time. */
const CACHED_CHUNKS = 8;
/** Number of dropped frames whose array slots are reclaimed at once, so that dropping a single frame copies nothing. */
const COMPACT_AFTER = 1024;

/** One buffer with the frames that were encoded at the same time. */
interface Block {
  readonly bytes: Buffer;
  /** Bytes of all frames that were ever pushed before this block. */
  readonly startsAt: number;
}

export class EventRing {
  readonly #bounds: RingBounds;
  readonly #cache = new Map<number, Chunk>();
  /** The newest frames, which are not encoded yet. */
  #open: string[] = [];
  /** For the encoded frame at index i, from `#start` on: the frame's block, and the bytes ever pushed up to the frame's end. */
  #blocks: Block[] = [];
  #ends: number[] = [];
  #start = 0;
  #head: number;
  #bytesDropped = 0;
  #bytesPushed = 0;

  /** Event ids start above `floor`, the session's id floor (0 for a new session). */
  constructor(bounds: RingBounds, floor = 0) {
    this.#bounds = bounds;
    this.#head = floor;
  }

  /** Id of the newest event; the id floor when no event was ever pushed. */
  get head(): number {
    return this.#head;
  }

  get size(): number {
    return this.#blocks.length - this.#start + this.#open.length;
  }

  /** Id of the oldest event kept; head + 1 when the ring is empty. */
  get oldest(): number {
    return this.#head - this.size + 1;
  }

  /** Bytes of the frames kept. */
  get bytes(): number {
    this.#encode();
    return this.#bytesPushed - this.#bytesDropped;
  }

  /** Appends the frame that `make` makes for the next id, drops what no longer fits, and returns the id. */
  push(make: (id: number) => string): number {
    const id = this.append(make);
    this.trim();
    return id;
  }

  /** Appends a frame without dropping any. The ring may then be over its bounds: the caller is to call `trim` soon. */
  append(make: (id: number) => string): number {
    const id = this.#head + 1;
    this.#open.push(make(id));
    this.#head = id;
    return id;
  }

  /** Drops the oldest events until both bounds hold; the newest event stays. */
  trim(): void {
    this.#encode();
    while (this.size > 1 && (this.size > this.#bounds.maxEvents || this.bytes > this.#bounds.maxBytes))
      this.#dropOldest();
  }

  /** Whether the reader at `cursor` has lost events: the next event that it needs has been dropped. */
  hasOvertaken(cursor: number): boolean {
    return cursor + 1 < this.oldest;
  }

  /** Bytes of the kept events after `cursor`. */
  bytesAfter(cursor: number): number {
    if (cursor >= this.#head) return 0;
    this.#encode();
    return this.#bytesPushed - this.#startOf(this.#indexOf(Math.max(cursor + 1, this.oldest)));
  }

  /**
   * The frames after `cursor`, as many as fit into `maxBytes` and end at `until`, but at least one; undefined when no frame is
   * left. The caller has checked `hasOvertaken`.
   */
  chunkAfter(cursor: number, maxBytes: number, until = this.#head): Chunk | undefined {
    if (cursor >= Math.min(until, this.#head)) return undefined;
    const cached = this.#cache.get(cursor);
    if (cached !== undefined && cached.to <= until) return cached;
    const chunk = this.#assemble(cursor, maxBytes, Math.min(until, this.#head));
    if (this.#cache.size >= CACHED_CHUNKS) this.#cache.delete(this.#cache.keys().next().value as number);
    this.#cache.set(cursor, chunk);
    return chunk;
  }

  /** Id of the last event that a replay of at most `maxBytes` from `cursor` reaches; the first event is reached in any case. */
  reachWithin(cursor: number, maxBytes: number): number {
    this.#encode();
    const from = Math.max(cursor, this.oldest - 1);
    if (from >= this.#head) return from;
    return from + Math.max(1, this.#countWithin(this.#indexOf(from + 1), maxBytes, this.size));
  }

  #assemble(cursor: number, maxBytes: number, until: number): Chunk {
    this.#encode();
    const first = this.#indexOf(cursor + 1);
    const count = Math.max(1, this.#countWithin(first, maxBytes, until - cursor));
    return { bytes: this.#bytesOf(first, first + count), to: cursor + count };
  }

  /** How many frames from index `first` on fit into `maxBytes`, at most `most`. */
  #countWithin(first: number, maxBytes: number, most: number): number {
    const limit = this.#startOf(first) + maxBytes;
    const last = Math.min(first + most, this.#ends.length);
    let index = first;
    while (index < last && (this.#ends[index] as number) <= limit) index += 1;
    return index - first;
  }

  /** The frames from index `first` up to but not `end`; copied only where they lie in several blocks. */
  #bytesOf(first: number, end: number): Buffer {
    const parts: Buffer[] = [];
    let index = first;
    while (index < end) {
      const block = this.#blocks[index] as Block;
      const from = this.#startOf(index);
      while (index < end && this.#blocks[index] === block) index += 1;
      parts.push(block.bytes.subarray(from - block.startsAt, this.#startOf(index) - block.startsAt));
    }
    return parts.length === 1 ? (parts[0] as Buffer) : Buffer.concat(parts);
  }

  /** Bytes of all frames ever pushed before the frame at `index`, which may be the index of the next frame to come. */
  #startOf(index: number): number {
    return index === this.#start ? this.#bytesDropped : (this.#ends[index - 1] as number);
  }

  /** Index of an event's frame. @throws RangeError when the frame is not in the ring, or not encoded yet. */
  #indexOf(id: number): number {
    const index = this.#ends.length - 1 - (this.#head - id);
    if (index < this.#start || index >= this.#ends.length)
      throw new RangeError(`event ${id} is not in the ring`);
    return index;
  }

  #encode(): void {
    const frames = this.#open;
    if (frames.length === 0) return;
    this.#open = [];
    const text = frames.join('');
    const block = { bytes: Buffer.from(text), startsAt: this.#bytesPushed };
    // If the block has as many bytes as characters, every character takes one byte, and so no frame needs to be measured.
    const isOneByte = block.bytes.length === text.length;
    for (const frame of frames) {
      this.#bytesPushed += isOneByte ? frame.length : Buffer.byteLength(frame);
      this.#blocks.push(block);
      this.#ends.push(this.#bytesPushed);
    }
  }

  #dropOldest(): void {
    this.#bytesDropped = this.#ends[this.#start] as number;
    // The array slot stays until `COMPACT_AFTER`; the block's bytes must be freed now.
    this.#blocks[this.#start] = NONE;
    this.#start += 1;
    if (this.#start >= COMPACT_AFTER && this.#start * 2 >= this.#ends.length) {
      this.#blocks = this.#blocks.slice(this.#start);
      this.#ends = this.#ends.slice(this.#start);
      this.#start = 0;
    }
  }
}

const NONE: Block = { bytes: Buffer.alloc(0), startsAt: 0 };
