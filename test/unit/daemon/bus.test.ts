// The bus of a session: what it publishes, and when its readers are pumped.
import { describe, expect, test } from '@jest/globals';
import { HEAD_STEP } from '../../../daemon/contract/feed.ts';
import { createLog } from '../../../daemon/contract/log.ts';
import { Bus, type Reader } from '../../../daemon/events/bus.ts';
import { ManualClock } from '../../support/manual-clock.ts';
import { eventsOf } from '../../support/session-parts.ts';

class CountingReader implements Reader {
  pumps = 0;
  /** Claims a pause when asked the next time. */
  isClaiming = false;
  onPump: () => void = () => undefined;

  pump(): void {
    this.pumps += 1;
    this.onPump();
  }

  claimsPause(): boolean {
    return this.isClaiming;
  }
}

function startBus(maxEvents = 100) {
  const logged: string[] = [];
  const clock = new ManualClock();
  const agent = { held: 0, ever: 0 };
  const heads: number[] = [];
  const bus = new Bus({
    bounds: { maxEvents, maxBytes: 1024 * 1024 },
    clock,
    log: createLog('test', 'debug', { write: (line: string) => void logged.push(line) }),
    onHead: (head) => heads.push(head),
    pauseAgent: () => {
      agent.held += 1;
      agent.ever += 1;
      return () => {
        agent.held -= 1;
      };
    },
  });
  return { bus, clock, agent, logged, heads };
}

describe('publishing', () => {
  test('gives out contiguous ids and an envelope with the time of publishing', () => {
    const { bus, clock } = startBus();
    expect(bus.publish('a', { x: 1 }, { promptId: 'p', originatorClientId: 'c' })).toBe(1);
    clock.advance(5);
    expect(bus.publish('b', null)).toBe(2);
    expect(eventsOf(bus)).toEqual([
      {
        id: 1,
        v: 1,
        type: 'a',
        data: { x: 1 },
        promptId: 'p',
        originatorClientId: 'c',
        _meta: { serverTimestamp: clock.nowMs() - 5 },
      },
      { id: 2, v: 1, type: 'b', data: null, _meta: { serverTimestamp: clock.nowMs() } },
    ]);
  });

  test('drops what cannot be serialised, logs it and uses no id', () => {
    const { bus, logged } = startBus();
    const circle: Record<string, unknown> = {};
    circle.self = circle;
    let deep: unknown = 1;
    for (let level = 0; level < 100_000; level += 1) deep = [deep];
    for (const data of [circle, { big: 1n }, undefined, deep])
      expect(bus.publish('bad', data)).toBeUndefined();
    expect(logged).toHaveLength(4);
    expect(bus.publish('good', {})).toBe(1);
  });

  test('keeps any text within its frame', () => {
    const { bus } = startBus();
    const texts = ['a\n\nid: 9\ndata: {}', 'b\r\nc', '\u2028\u2029', '\ud83d', '\0'];
    for (const text of texts) bus.publish('text', { text });
    expect(eventsOf(bus).map(({ data }) => (data as { text: string }).text)).toEqual(texts);
  });

  test('after the end does nothing', () => {
    const { bus } = startBus();
    bus.publish('last', {});
    bus.end();
    bus.end();
    expect([bus.publish('late', {}), bus.ring.head, bus.hasEnded]).toEqual([undefined, 1, true]);
  });

  test('tells its head in steps, and only then', () => {
    const { bus, heads } = startBus();
    for (let made = 0; made < 2.5 * HEAD_STEP; made += 1) bus.publish('tick', {});
    expect(heads).toEqual([HEAD_STEP, 2 * HEAD_STEP]);
  });

  test('has an epoch of its own on every bus', () => {
    expect(startBus().bus.epoch).not.toBe(startBus().bus.epoch);
  });
});

describe('readers', () => {
  test('are pumped when they come, and once a batch', async () => {
    const { bus } = startBus();
    const reader = new CountingReader();
    bus.attach(reader);
    expect(reader.pumps).toBe(1);
    for (let made = 0; made < 50; made += 1) bus.publish('tick', {});
    expect(reader.pumps).toBe(1);
    await Promise.resolve();
    expect(reader.pumps).toBe(2);
  });

  test('may leave while they are pumped', async () => {
    const { bus } = startBus();
    const [first, second] = [new CountingReader(), new CountingReader()];
    first.onPump = () => bus.detach(first);
    for (const reader of [first, second]) bus.attach(reader);
    bus.publish('tick', {});
    await Promise.resolve();
    expect([bus.readerCount, second.pumps]).toEqual([1, 2]);
  });

  test('may publish while they are pumped: the next batch takes it', async () => {
    const { bus } = startBus();
    const reader = new CountingReader();
    bus.attach(reader);
    reader.onPump = () => {
      if (bus.ring.head === 1) bus.publish('echo', {});
    };
    bus.publish('tick', {});
    await Promise.resolve();
    await Promise.resolve();
    expect([bus.ring.head, reader.pumps]).toEqual([2, 3]);
  });

  test('that nobody is leaves the ring within its bounds', async () => {
    const { bus } = startBus(10);
    for (let made = 0; made < 50; made += 1) bus.publish('tick', {});
    await Promise.resolve();
    expect(bus.ring.size).toBe(10);
    bus.attach(new CountingReader());
    for (let made = 0; made < 50; made += 1) bus.publish('tick', {});
    await Promise.resolve();
    expect(bus.ring.size).toBe(10);
  });
});

describe('a pause', () => {
  test('is one at a time, whoever claims it, and ends by itself', async () => {
    const { bus, agent, clock } = startBus();
    const readers = [new CountingReader(), new CountingReader()];
    for (const reader of readers) {
      reader.isClaiming = true;
      bus.attach(reader);
    }
    for (let batch = 0; batch < 3; batch += 1) {
      bus.publish('tick', {});
      await Promise.resolve();
    }
    expect(agent).toEqual({ held: 1, ever: 1 });
    clock.advance(250);
    expect([agent.held, clock.pending]).toEqual([0, 0]);
  });

  test.each([
    ['the last reader leaves', (bus: Bus, reader: Reader) => bus.detach(reader)],
    ['the session ends', (bus: Bus) => bus.end()],
    ['the reader can write again', (bus: Bus, reader: Reader) => bus.readerDrained(reader)],
  ])('ends when %s', async (_what, act) => {
    const { bus, agent, clock } = startBus();
    const reader = new CountingReader();
    reader.isClaiming = true;
    bus.attach(reader);
    bus.publish('tick', {});
    await Promise.resolve();
    reader.isClaiming = false;
    act(bus, reader);
    expect([agent.held, clock.pending]).toEqual([0, 0]);
  });
});
