// One event stream over a response whose reader the test controls: what it gets first, and when it is warned or evicted.
import { describe, expect, test } from '@jest/globals';
import { DEFAULT_LIMITS, type Limits } from '../../../daemon/contract/limits.ts';
import { planReplay } from '../../../daemon/domain/cursor.ts';
import { Bus } from '../../../daemon/events/bus.ts';
import { EventStream } from '../../../daemon/http/event-stream.ts';
import { FakeResponse } from '../../support/fake-response.ts';
import { ManualClock } from '../../support/manual-clock.ts';
import { SILENT } from '../../support/session-parts.ts';

interface Given {
  readonly cursor?: number;
  readonly epoch?: string;
  readonly maxQueued?: number;
  readonly hasSnapshot?: boolean;
}

/** A bus with a pausable agent, and streams on it. */
class Desk {
  readonly clock = new ManualClock();
  readonly limits: Limits;
  readonly bus: Bus;
  pauses = 0;
  resumes = 0;
  ends = 0;

  constructor(limits: Partial<Limits> = {}, idFloor = 0) {
    this.limits = { ...DEFAULT_LIMITS, ...limits };
    this.bus = new Bus({
      bounds: { maxEvents: this.limits.eventRingSize, maxBytes: this.limits.eventRingBytes },
      clock: this.clock,
      log: SILENT,
      idFloor,
      onHead: () => undefined,
      pauseAgent: () => {
        this.pauses += 1;
        return () => {
          this.resumes += 1;
        };
      },
    });
  }

  open(given: Given = {}, reader = new FakeResponse()): FakeResponse {
    const { head, oldest } = this.bus.ring;
    const epoch = { given: given.epoch, current: this.bus.epoch };
    const replay =
      given.cursor === undefined
        ? undefined
        : { cursor: given.cursor, plan: planReplay({ head, oldest }, given.cursor, epoch) };
    new EventStream({
      res: reader.res,
      bus: this.bus,
      clock: this.clock,
      limits: this.limits,
      maxQueued: given.maxQueued ?? this.limits.subscriberQueueFrames,
      replay,
      snapshot: given.hasSnapshot === true ? () => ({ sessionId: 's-1' }) : undefined,
      onEnd: () => {
        this.ends += 1;
      },
    }).start();
    return reader;
  }

  /** One batch of events, as one read of the agent's output makes it. */
  async publish(count: number, size = 1): Promise<void> {
    for (let made = 0; made < count; made += 1) this.bus.publish('tick', { text: 'x'.repeat(size) });
    await Promise.resolve();
  }

  /** Batches with time between them in which no pause lasts. */
  async flood(batches: number, count: number, size = 1): Promise<void> {
    for (let made = 0; made < batches; made += 1) {
      await this.publish(count, size);
      this.clock.advance(300);
    }
  }

  /** A stream whose reader stopped at the head. */
  openBlocked(given: Given = {}): FakeResponse {
    const reader = this.open(given);
    reader.block();
    return reader;
  }
}

const range = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, index) => from + index);

const warningsOf = (reader: FakeResponse) =>
  (reader.text + reader.held).split('event: slow_client_warning').length - 1;

describe('a stream begins', () => {
  test('with the retry hint, and without a cursor gets live events only', async () => {
    const desk = new Desk();
    await desk.publish(3);
    const reader = desk.open();
    await desk.publish(2);
    expect(reader.text.startsWith('retry: 3000\n\nid: 4\n')).toBe(true);
    expect(reader.types).toEqual(['tick', 'tick']);
    expect(reader.ids).toEqual([4, 5]);
  });

  test('with a cursor within the ring by what follows it, the notice, then live events', async () => {
    const desk = new Desk();
    await desk.publish(5);
    const reader = desk.open({ cursor: 2 });
    await desk.publish(1);
    expect(reader.types).toEqual(['tick', 'tick', 'tick', 'replay_complete', 'tick']);
    expect(reader.ids).toEqual([3, 4, 5, 6]);
    expect(reader.dataOf('replay_complete')).toEqual({
      replayedCount: 3,
      lastReplayedEventId: 5,
      lastEventId: 5,
    });
  });

  test.each([
    [0, 0],
    [3, 3],
  ])('with a cursor at the head (%d) by an empty replay', async (count, cursor) => {
    const desk = new Desk();
    await desk.publish(count);
    const reader = desk.open({ cursor });
    expect(reader.dataOf('replay_complete')).toEqual({ replayedCount: 0 });
    expect(reader.types).toEqual(['replay_complete']);
  });

  test.each([
    ['a cursor beyond the head', { cursor: 9 }, { reason: 'epoch_reset' }],
    ['another epoch', { cursor: 2, epoch: 'other' }, { reason: 'epoch_reset', detail: 'epoch_mismatch' }],
  ])('after %s by the notice and the whole ring', async (_what, given, notice) => {
    const desk = new Desk();
    await desk.publish(3);
    const reader = desk.open(given);
    expect(reader.types).toEqual(['state_resync_required', 'tick', 'tick', 'tick', 'replay_complete']);
    expect(reader.dataOf('state_resync_required')).toEqual({
      ...notice,
      lastDeliveredId: given.cursor,
      earliestAvailableId: 1,
    });
  });

  test('after the ring lost events by the notice and what survived', async () => {
    const desk = new Desk({ eventRingSize: 4 });
    await desk.publish(10);
    const reader = desk.open({ cursor: 3 });
    expect(reader.dataOf('state_resync_required')).toEqual({
      reason: 'ring_evicted',
      lastDeliveredId: 3,
      earliestAvailableId: 7,
    });
    expect(reader.ids).toEqual([7, 8, 9, 10]);
    expect(reader.types.at(-1)).toBe('replay_complete');
  });

  test('just before the oldest event without any loss', async () => {
    const desk = new Desk({ eventRingSize: 4 });
    await desk.publish(10);
    const reader = desk.open({ cursor: 6 });
    expect([reader.types[0], reader.ids]).toEqual(['tick', [7, 8, 9, 10]]);
  });

  test('on an empty ring behind a moved head by saying that the replay is elsewhere', async () => {
    const desk = new Desk({}, 10_000);
    const reader = desk.open({ cursor: 12 });
    expect(reader.dataOf('state_resync_required')).toMatchObject({ reason: 'seeded_replay_not_in_ring' });
    await desk.publish(1);
    expect(reader.types).toEqual(['state_resync_required', 'replay_complete', 'tick']);
    expect(reader.ids).toEqual([10_001]);
  });

  test('with as much as the replay budget allows, then the notice, then live events only', async () => {
    const desk = new Desk({ replayBudgetBytes: 1000 });
    await desk.publish(20, 100);
    const reader = desk.open({ cursor: 2 });
    const replayed = reader.ids.length;
    expect(replayed).toBeGreaterThan(1);
    expect(replayed).toBeLessThan(10);
    expect(reader.types.slice(replayed)).toEqual(['state_resync_required', 'replay_complete']);
    const last = 2 + replayed;
    expect(reader.dataOf('state_resync_required')).toEqual({
      reason: 'replay_budget_exceeded',
      lastDeliveredId: last,
      earliestAvailableId: last + 1,
    });
    expect(reader.dataOf('replay_complete')).toEqual({
      replayedCount: replayed,
      lastReplayedEventId: last,
      lastEventId: last,
    });
    await desk.publish(1);
    expect(reader.ids).toEqual([...range(3, last), 21]);
  });

  test('with one event at least, though it is larger than the replay budget', async () => {
    const desk = new Desk({ replayBudgetBytes: 1000 });
    await desk.publish(2, 5000);
    const reader = desk.open({ cursor: 0 });
    expect(reader.types).toEqual(['tick', 'state_resync_required', 'replay_complete']);
    expect(reader.dataOf('state_resync_required')).toMatchObject({
      lastDeliveredId: 1,
      earliestAvailableId: 2,
    });
  });

  test('with the snapshot first without a cursor, and right behind the replay with one', async () => {
    const desk = new Desk();
    await desk.publish(1);
    const fresh = desk.open({ hasSnapshot: true });
    const resumed = desk.open({ hasSnapshot: true, cursor: 0 });
    await desk.publish(1);
    expect(fresh.types).toEqual(['session_snapshot', 'tick']);
    expect(resumed.types).toEqual(['tick', 'replay_complete', 'session_snapshot', 'tick']);
  });

  test('and every event follows once, though it comes while a slow reader is still replaying', async () => {
    const desk = new Desk();
    await desk.publish(300, 1000);
    const reader = desk.open({ cursor: 0 }, new FakeResponse());
    reader.block();
    await desk.publish(50);
    reader.unblock(true);
    await desk.publish(50);
    reader.unblock();
    expect(reader.ids).toEqual(range(1, 400));
    expect(reader.types.filter((type) => type !== 'tick')).toEqual(['replay_complete']);
  });

  test('with frames whose id stands in the line and in the JSON, or in neither', async () => {
    const desk = new Desk();
    await desk.publish(1);
    const reader = desk.open({ cursor: 0 });
    const blocks = reader.text.split('\n\n').filter((block) => block.includes('data: '));
    for (const block of blocks) expect(block.includes('id: ')).toBe(block.includes('"id":'));
    expect(blocks.map((block) => /^event: (.*)$/m.exec(block)?.[1])).toEqual(['tick', 'replay_complete']);
  });
});

describe('a slow reader is warned', () => {
  test('at three quarters of the frames, and once', async () => {
    const desk = new Desk();
    const reader = desk.openBlocked({ maxQueued: 16 });
    // The first event fills the socket; what stays behind the cursor is the backlog.
    await desk.publish(1);
    await desk.publish(11);
    expect(warningsOf(reader)).toBe(0);
    await desk.publish(1);
    expect(warningsOf(reader)).toBe(1);
    await desk.publish(20);
    expect(warningsOf(reader)).toBe(1);
    reader.unblock();
    expect(reader.ids).toEqual(range(1, 33));
  });

  test('again only after its backlog was below three eighths', async () => {
    const desk = new Desk();
    const reader = desk.openBlocked({ maxQueued: 16 });
    await desk.publish(1);
    // Six of these fit into one write.
    await desk.publish(13, 10_000);
    expect(warningsOf(reader)).toBe(1);
    reader.unblock(true);
    await desk.publish(6, 10_000);
    expect(warningsOf(reader)).toBe(1);
    reader.unblock(true);
    reader.unblock(true);
    await desk.publish(12, 10_000);
    expect(warningsOf(reader)).toBe(2);
  });

  test('again after it had caught up', async () => {
    const desk = new Desk();
    const reader = desk.openBlocked({ maxQueued: 16 });
    for (let spell = 1; spell <= 3; spell += 1) {
      reader.block();
      await desk.publish(1);
      await desk.publish(12);
      expect(warningsOf(reader)).toBe(spell);
      reader.unblock();
    }
  });

  test('with its backlog and the bound that it reached', async () => {
    const desk = new Desk({ subscriberQueueBytes: 4000 });
    const reader = desk.openBlocked({ maxQueued: 100 });
    await desk.publish(1);
    await desk.publish(3, 1000);
    reader.unblock();
    expect(reader.dataOf('slow_client_warning')).toEqual({
      queueSize: 3,
      maxQueued: 100,
      lastEventId: 4,
      queuedBytes: expect.any(Number),
      maxQueuedBytes: 4000,
      threshold: 'bytes',
    });
  });

  test.each([
    ['frames', 16, 100_000],
    ['bytes', 100, 3000],
    ['frames_and_bytes', 16, 3000],
  ])('by %s', async (threshold, maxQueued, subscriberQueueBytes) => {
    const desk = new Desk({ subscriberQueueBytes });
    const reader = desk.openBlocked({ maxQueued });
    await desk.publish(1);
    await desk.publish(15, 100);
    reader.unblock();
    expect(reader.dataOf('slow_client_warning')).toMatchObject({ threshold });
  });

  test('not for what is replayed to it', async () => {
    const desk = new Desk();
    await desk.publish(500);
    const reader = new FakeResponse();
    reader.block();
    desk.open({ cursor: 0, maxQueued: 16 }, reader);
    await desk.publish(1);
    reader.unblock();
    expect(reader.types).not.toContain('slow_client_warning');
    expect(reader.ids).toEqual(range(1, 501));
  });

  test('not while it keeps up, however large a batch is', async () => {
    const desk = new Desk({ eventRingSize: 100 });
    const reader = desk.open();
    await desk.publish(3000);
    expect(reader.types).not.toContain('slow_client_warning');
    expect(reader.ids).toEqual(range(1, 3000));
  });
});

describe('a reader is evicted', () => {
  test('when the ring overtakes it, not when its backlog is over the bounds', async () => {
    const desk = new Desk({ eventRingSize: 100 });
    const reader = desk.openBlocked({ maxQueued: 16 });
    await desk.publish(1);
    await desk.flood(10, 10);
    await desk.publish(1);
    expect([reader.isEnded, desk.bus.readerCount]).toEqual([false, 1]);
    await desk.publish(1);
    expect([reader.isEnded, desk.bus.readerCount, desk.ends]).toEqual([true, 0, 1]);
    reader.unblock();
    expect(reader.types.at(-1)).toBe('client_evicted');
    expect(reader.dataOf('client_evicted')).toEqual({
      reason: 'queue_overflow',
      droppedAfter: 1,
      queueSize: expect.any(Number),
      maxQueued: 16,
      queuedBytes: expect.any(Number),
      maxQueuedBytes: desk.limits.subscriberQueueBytes,
    });
    expect(reader.ids).toEqual([1]);
  });

  test('by bytes where those are the bound that the ring reached', async () => {
    const desk = new Desk({ eventRingBytes: 10_000 });
    const reader = desk.openBlocked();
    await desk.publish(1);
    await desk.flood(4, 2, 4000);
    reader.unblock();
    expect(reader.dataOf('client_evicted')).toMatchObject({
      reason: 'queue_bytes_overflow',
      droppedAfter: 1,
    });
  });

  test('during its replay too', async () => {
    const desk = new Desk({ eventRingSize: 100 });
    await desk.publish(100, 2000);
    const reader = new FakeResponse();
    reader.block();
    desk.open({ cursor: 0 }, reader);
    await desk.flood(2, 200);
    expect(reader.isEnded).toBe(true);
  });

  test('and may still read its last frame; one that never does is cut after a grace', async () => {
    const desk = new Desk({ eventRingSize: 10, evictedDrainMs: 500 });
    const [patient, gone] = [desk.openBlocked(), desk.openBlocked()];
    await desk.flood(2, 30);
    await desk.publish(1);
    desk.clock.advance(499);
    expect([patient.isEnded, gone.isEnded, gone.isDestroyed]).toEqual([true, true, false]);
    patient.unblock();
    desk.clock.advance(1);
    expect([patient.isDestroyed, gone.isDestroyed]).toEqual([false, true]);
    expect(patient.types.at(-1)).toBe('client_evicted');
  });

  test('alone: those that read are not touched', async () => {
    const desk = new Desk({ eventRingSize: 50 });
    const stopped = desk.openBlocked();
    const healthy = [desk.open(), desk.open()];
    await desk.flood(20, 25);
    expect(stopped.isEnded).toBe(true);
    for (const reader of healthy) {
      expect(reader.isEnded).toBe(false);
      expect(reader.ids).toEqual(range(1, 500));
    }
  });

  test('resumes where it was dropped: it is told what the ring lost, and nothing else is missing', async () => {
    const desk = new Desk({ eventRingSize: 50 });
    const stopped = desk.openBlocked();
    await desk.flood(10, 25);
    stopped.unblock();
    const back = desk.open({ cursor: Number(stopped.dataOf('client_evicted')?.droppedAfter) });
    expect(back.dataOf('state_resync_required')).toMatchObject({
      reason: 'ring_evicted',
      earliestAvailableId: 201,
    });
    await desk.publish(5);
    expect(back.ids).toEqual(range(201, 255));
  });

  test('when no write completes for the idle time, if one is set', async () => {
    const desk = new Desk({ writerIdleTimeoutMs: 1000, heartbeatCommentMs: 300 });
    const [reader, stuck] = [desk.open(), desk.openBlocked()];
    await desk.publish(1);
    desk.clock.advance(1250);
    expect([reader.isEnded, stuck.isEnded]).toEqual([false, true]);
    stuck.unblock();
    expect(stuck.dataOf('client_evicted')).toEqual({
      reason: 'writer_idle_timeout',
      errorKind: 'writer_idle_timeout',
      idleForMs: 1000,
      timeoutMs: 1000,
    });
    // Heartbeats are writes: a healthy stream without events stays.
    desk.clock.advance(60_000);
    expect(reader.isEnded).toBe(false);
  });

  test('never for idleness by default', async () => {
    const desk = new Desk();
    const stuck = desk.openBlocked();
    await desk.publish(1);
    desk.clock.advance(24 * 3600_000);
    expect(stuck.isEnded).toBe(false);
  });
});

describe('the agent is held back', () => {
  const FAR = { eventRingSize: 100 };

  test('for a blocked reader that is half the ring behind, for 250 ms and once a blocked spell', async () => {
    const desk = new Desk(FAR);
    const reader = desk.openBlocked();
    await desk.publish(1);
    await desk.publish(50);
    expect(desk.pauses).toBe(0);
    await desk.publish(1);
    expect([desk.pauses, desk.resumes]).toEqual([1, 0]);
    desk.clock.advance(249);
    expect(desk.resumes).toBe(0);
    desk.clock.advance(1);
    expect(desk.resumes).toBe(1);
    await desk.publish(10);
    expect(desk.pauses).toBe(1);
    reader.unblock();
    reader.block();
    await desk.publish(1);
    await desk.publish(60);
    expect(desk.pauses).toBe(2);
  });

  test('by bytes as well', async () => {
    const desk = new Desk({ eventRingBytes: 10_000 });
    desk.openBlocked();
    await desk.publish(1);
    await desk.publish(1, 6000);
    expect(desk.pauses).toBe(1);
  });

  test('no longer once a blocked reader can write, or has gone', async () => {
    for (const leave of [(reader: FakeResponse) => reader.unblock(), (r: FakeResponse) => r.destroy()]) {
      const desk = new Desk(FAR);
      const reader = desk.openBlocked();
      await desk.publish(1);
      await desk.publish(60);
      expect([desk.pauses, desk.resumes]).toEqual([1, 0]);
      leave(reader);
      expect(desk.resumes).toBe(1);
      desk.clock.advance(1000);
      expect(desk.resumes).toBe(1);
    }
  });

  test('until all for whom it is have written something', async () => {
    const desk = new Desk(FAR);
    const readers = [desk.openBlocked(), desk.openBlocked(), desk.openBlocked()];
    await desk.publish(1);
    await desk.publish(60);
    expect([desk.pauses, desk.resumes]).toEqual([1, 0]);
    readers[0]?.unblock();
    readers[1]?.destroy();
    expect(desk.resumes).toBe(0);
    readers[2]?.unblock();
    expect([desk.pauses, desk.resumes]).toEqual([1, 1]);
  });

  test('and what the blocked reader needs is kept for it meanwhile', async () => {
    const desk = new Desk(FAR);
    const reader = desk.openBlocked();
    await desk.publish(1);
    await desk.publish(60);
    await desk.publish(60);
    expect(desk.pauses).toBe(1);
    reader.unblock();
    expect([reader.ids, reader.isEnded]).toEqual([range(1, 121), false]);
  });

  test('never for readers that keep up', async () => {
    const desk = new Desk(FAR);
    desk.open();
    await desk.publish(1000);
    expect(desk.pauses).toBe(0);
  });

  test('no longer than the session', async () => {
    const desk = new Desk(FAR);
    desk.openBlocked();
    await desk.publish(1);
    await desk.publish(60);
    desk.bus.end();
    expect([desk.pauses, desk.resumes]).toEqual([1, 1]);
  });
});

describe('a heartbeat', () => {
  test('is a comment in its period', () => {
    const desk = new Desk({ heartbeatCommentMs: 100 });
    const reader = desk.open();
    desk.clock.advance(250);
    expect(reader.text).toBe('retry: 3000\n\n: heartbeat\n\n: heartbeat\n\n');
  });

  test('is not piled up on a blocked reader', async () => {
    const desk = new Desk({ heartbeatCommentMs: 100 });
    const reader = desk.openBlocked();
    await desk.publish(1);
    desk.clock.advance(1000);
    expect(reader.held).not.toContain('heartbeat');
  });
});

describe('a stream ends', () => {
  test('with the terminal event as its last', async () => {
    const desk = new Desk();
    const reader = desk.open();
    await desk.publish(1);
    desk.bus.publish('session_closed', { reason: 'client_close' });
    desk.bus.end();
    expect([reader.types, reader.isEnded]).toEqual([['tick', 'session_closed'], true]);
    expect(desk.bus.publish('tick', {})).toBeUndefined();
  });

  test('for a blocked reader once it has read everything', async () => {
    const desk = new Desk();
    const reader = desk.openBlocked();
    await desk.publish(200, 1000);
    desk.bus.publish('session_closed', {});
    desk.bus.end();
    expect(reader.isEnded).toBe(false);
    reader.unblock();
    expect([reader.isEnded, reader.types.at(-1), reader.ids]).toEqual([
      true,
      'session_closed',
      range(1, 201),
    ]);
  });

  test('with the client, and leaves no timer and no reader behind', async () => {
    const desk = new Desk({ writerIdleTimeoutMs: 5000 });
    const readers = [desk.open(), desk.openBlocked(), desk.open({ cursor: 0 })];
    await desk.publish(1);
    for (const reader of readers) reader.destroy();
    await desk.publish(1);
    expect([desk.bus.readerCount, desk.ends, desk.clock.pending]).toEqual([0, 3, 0]);
  });

  test('once, though the client leaves behind its eviction', async () => {
    const desk = new Desk({ eventRingSize: 10 });
    const reader = desk.openBlocked();
    await desk.flood(3, 30);
    expect(reader.isEnded).toBe(true);
    reader.destroy();
    expect([desk.ends, desk.clock.pending]).toEqual([1, 0]);
  });
});
