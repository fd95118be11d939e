// The events that a session keeps for replay. Readers are cursors over it; nothing is copied per reader.
// Invariants: ids are contiguous and only grow; after a trim the ring holds the newest events within both bounds, at least
// one.

export interface RingBounds {
  readonly maxEvents: number;
  readonly maxBytes: number;
}

/** Frames after a cursor, ready to be written as they are. */
export interface Chunk {
  readonly bytes: Buffer;
  /** Id of the last frame in `bytes`: the reader's next cursor. */
  readonly to: number;
}

/** Readers at the same cursor share one concatenation; a handful of distinct positions is enough for real fan-outs. */
const CACHED_CHUNKS = 8;
/** Dropped slots are reclaimed in bulk, so that dropping one costs nothing. */
const COMPACT_AFTER = 1024;

export class EventRing {
  readonly #bounds: RingBounds;
  readonly #cache = new Map<number, Chunk>();
  /** Frames from `#start` on are kept; `#ends[i]` is the number of bytes ever pushed up to and including frame i. */
  #frames: Buffer[] = [];
  #ends: number[] = [];
  #start = 0;
  #head: number;
  #bytesDropped = 0;
  #bytesPushed = 0;

  /** Ids start above `floor` (0 for a new session). */
  constructor(bounds: RingBounds, floor = 0) {
    this.#bounds = bounds;
    this.#head = floor;
  }

  /** Id of the newest event, or the floor when nothing was ever pushed. */
  get head(): number {
    return this.#head;
  }

  get size(): number {
    return this.#frames.length - this.#start;
  }

  /** Id of the oldest event kept; head + 1 when the ring is empty. */
  get oldest(): number {
    return this.#head - this.size + 1;
  }

  /** Bytes of the frames kept. */
  get bytes(): number {
    return this.#bytesPushed - this.#bytesDropped;
  }

  /** Appends the frame that `encode` makes for the next id, drops what no longer fits, and returns the id. */
  push(encode: (id: number) => Buffer): number {
    const id = this.append(encode);
    this.trim();
    return id;
  }

  /** Appends without dropping anything. The ring may be over its bounds until `trim`, which the caller owes it soon. */
  append(encode: (id: number) => Buffer): number {
    const id = this.#head + 1;
    const frame = encode(id);
    this.#head = id;
    this.#bytesPushed += frame.length;
    this.#frames.push(frame);
    this.#ends.push(this.#bytesPushed);
    return id;
  }

  /** Drops the oldest events until both bounds hold; the newest one stays. */
  trim(): void {
    while (this.size > 1 && (this.size > this.#bounds.maxEvents || this.bytes > this.#bounds.maxBytes))
      this.#dropOldest();
  }

  /** Whether the reader at `cursor` has lost events: the next one that it needs is gone. */
  hasOvertaken(cursor: number): boolean {
    return cursor + 1 < this.oldest;
  }

  /** Bytes of the kept events after `cursor`. */
  bytesAfter(cursor: number): number {
    if (cursor >= this.#head) return 0;
    const index = this.#indexOf(Math.max(cursor, this.oldest - 1));
    return this.#bytesPushed - (index < this.#start ? this.#bytesDropped : (this.#ends[index] ?? 0));
  }

  /**
   * The frames after `cursor`, as many as fit into `maxBytes` and end at `until`, but at least one; undefined at the end.
   * The caller has checked `hasOvertaken`.
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

  /** Id of the last event that a replay of at most `maxBytes` from `cursor` reaches. */
  reachWithin(cursor: number, maxBytes: number): number {
    let bytes = 0;
    let id = Math.max(cursor, this.oldest - 1);
    while (id < this.#head) {
      bytes += this.#frameOf(id + 1).length;
      if (bytes > maxBytes) break;
      id += 1;
    }
    return id;
  }

  #assemble(cursor: number, maxBytes: number, until: number): Chunk {
    const first = this.#indexOf(cursor + 1);
    const last = this.#indexOf(until);
    let bytes = this.#frameOf(cursor + 1).length;
    let index = first;
    while (index < last) {
      const next = (this.#frames[index + 1] as Buffer).length;
      if (bytes + next > maxBytes) break;
      bytes += next;
      index += 1;
    }
    const to = cursor + 1 + index - first;
    if (index === first) return { bytes: this.#frameOf(to), to };
    return { bytes: Buffer.concat(this.#frames.slice(first, index + 1), bytes), to };
  }

  #indexOf(id: number): number {
    return this.#frames.length - 1 - (this.#head - id);
  }

  #frameOf(id: number): Buffer {
    const frame = this.#frames[this.#indexOf(id)];
    if (frame === undefined) throw new RangeError(`event ${id} is not in the ring`);
    return frame;
  }

  #dropOldest(): void {
    this.#bytesDropped += this.#frames[this.#start]?.length ?? 0;
    // The slot stays until compaction; its bytes must not.
    this.#frames[this.#start] = EMPTY;
    this.#start += 1;
    if (this.#start >= COMPACT_AFTER && this.#start * 2 >= this.#frames.length) {
      this.#frames = this.#frames.slice(this.#start);
      this.#ends = this.#ends.slice(this.#start);
      this.#start = 0;
    }
  }
}

const EMPTY = Buffer.alloc(0);
