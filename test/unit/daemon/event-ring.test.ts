import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { EventRing } from '../../../daemon/domain/event-ring.ts';

/** Now and then with a character of more bytes than one, as a part of what is encoded together. */
const frameOf = (id: number, size: number) => `${id}:${(size % 5 === 4 ? '€' : 'x').repeat(size)};`;

/** The ring as one would write it without a thought for speed. */
class NaiveRing {
  frames: { readonly id: number; readonly bytes: Buffer }[] = [];
  head = 0;
  readonly #maxEvents: number;
  readonly #maxBytes: number;

  constructor(maxEvents: number, maxBytes: number) {
    this.#maxEvents = maxEvents;
    this.#maxBytes = maxBytes;
  }

  push(size: number): void {
    this.head += 1;
    this.frames.push({ id: this.head, bytes: Buffer.from(frameOf(this.head, size)) });
    const bytes = () => this.frames.reduce((sum, frame) => sum + frame.bytes.length, 0);
    while (this.frames.length > 1 && (this.frames.length > this.#maxEvents || bytes() > this.#maxBytes))
      this.frames.shift();
  }

  after(cursor: number): Buffer {
    return Buffer.concat(this.frames.filter(({ id }) => id > cursor).map(({ bytes }) => bytes));
  }
}

describe('event ring', () => {
  test('holds and hands out exactly what a naive list does, for any pushes, bounds and cursors', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 40 }),
        fc.integer({ min: 1, max: 600 }),
        fc.array(fc.array(fc.integer({ min: 0, max: 60 }), { maxLength: 12 }), { maxLength: 20 }),
        fc.integer({ min: 1, max: 200 }),
        (maxEvents, maxBytes, batches, chunkBytes) => {
          const ring = new EventRing({ maxEvents, maxBytes });
          const naive = new NaiveRing(maxEvents, maxBytes);
          for (const sizes of batches) {
            for (const size of sizes) {
              ring.append((id) => frameOf(id, size));
              naive.push(size);
            }
            ring.trim();
          }
          expect(ring.head).toBe(naive.head);
          expect(ring.size).toBe(naive.frames.length);
          expect(ring.bytes).toBe(naive.after(0).length);
          for (let cursor = 0; cursor <= ring.head; cursor++) {
            expect(ring.hasOvertaken(cursor)).toBe(cursor + 1 < (naive.frames[0]?.id ?? naive.head + 1));
            expect(ring.bytesAfter(cursor)).toBe(naive.after(cursor).length);
            if (!ring.hasOvertaken(cursor))
              expect(readAll(ring, cursor, chunkBytes)).toEqual(naive.after(cursor));
          }
        },
      ),
      { numRuns: 150 },
    );
  });

  test('readers that interleave with events see every event once and in order', () => {
    fc.assert(
      fc.property(
        fc.array(fc.oneof(fc.constant('push' as const), fc.integer({ min: 0, max: 3 })), { maxLength: 200 }),
        (steps) => {
          const ring = new EventRing({ maxEvents: 1000, maxBytes: 1e6 });
          const readers = Array.from({ length: 4 }, () => ({ cursor: 0, seen: '' }));
          for (const step of steps) {
            if (step === 'push') {
              ring.append((id) => frameOf(id, id % 7));
              continue;
            }
            const reader = readers[step] as { cursor: number; seen: string };
            const chunk = ring.chunkAfter(reader.cursor, 20);
            if (chunk === undefined) continue;
            reader.cursor = chunk.to;
            reader.seen += chunk.bytes.toString();
          }
          for (const { cursor, seen } of readers) {
            const wanted = Array.from({ length: cursor }, (_, i) => frameOf(i + 1, (i + 1) % 7));
            expect(seen).toBe(wanted.join(''));
          }
        },
      ),
    );
  });

  test('readers at the same cursor share one buffer, also of events that came one by one', () => {
    const ring = new EventRing({ maxEvents: 10, maxBytes: 1000 });
    for (let i = 0; i < 3; i++) ring.push((id) => frameOf(id, 5));
    expect(ring.chunkAfter(0, 1000)?.bytes).toBe(ring.chunkAfter(0, 1000)?.bytes);
  });

  test('events that came together are handed out uncopied, to readers in their midst too', () => {
    const ring = new EventRing({ maxEvents: 10, maxBytes: 1000 });
    for (let i = 0; i < 3; i++) ring.append((id) => frameOf(id, 5));
    const whole = ring.chunkAfter(0, 1000)?.bytes;
    expect(ring.chunkAfter(1, 1000)?.bytes.buffer).toBe(whole?.buffer);
    expect(ring.chunkAfter(1, 1000)?.bytes.toString()).toBe(frameOf(2, 5) + frameOf(3, 5));
  });

  test('ids start above the floor', () => {
    const ring = new EventRing({ maxEvents: 10, maxBytes: 1000 }, 10_000);
    expect(ring.push((id) => frameOf(id, 1))).toBe(10_001);
    expect(ring.oldest).toBe(10_001);
  });

  test('a frame larger than the byte bound is kept alone', () => {
    const ring = new EventRing({ maxEvents: 10, maxBytes: 10 });
    ring.push((id) => frameOf(id, 1));
    ring.push((id) => frameOf(id, 100));
    expect(ring.size).toBe(1);
    expect(ring.chunkAfter(1, 5)?.to).toBe(2);
  });

  test('a replay reaches as far as its bytes allow, never past an event, and over one in any case', () => {
    const ring = new EventRing({ maxEvents: 10, maxBytes: 1000 });
    for (let i = 0; i < 4; i++) ring.push((id) => frameOf(id, 7));
    expect(ring.reachWithin(0, 10)).toBe(1);
    expect(ring.reachWithin(0, 20)).toBe(2);
    expect(ring.reachWithin(0, 9)).toBe(1);
    expect(ring.reachWithin(4, 9)).toBe(4);
    expect(ring.reachWithin(2, 1000)).toBe(4);
  });
});

function readAll(ring: EventRing, from: number, chunkBytes: number): Buffer {
  const parts: Buffer[] = [];
  let cursor = from;
  for (;;) {
    const chunk = ring.chunkAfter(cursor, chunkBytes);
    if (chunk === undefined) return Buffer.concat(parts);
    expect(chunk.to).toBeGreaterThan(cursor);
    cursor = chunk.to;
    parts.push(chunk.bytes);
  }
}
