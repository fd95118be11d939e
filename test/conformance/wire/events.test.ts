// The event stream: head, frames, cursors, bounds (protocol 2.12 and 4).
import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { eventually } from '../../support/eventually.ts';
import { endFleets } from '../../support/fleet-process.ts';
import { openStream, type SseStream } from '../../support/sse-stream.ts';
import { TARGETS } from '../../support/targets.ts';
import {
  type Admission,
  call,
  clientHeader,
  createSession,
  newSession,
  sendPrompt,
} from '../../support/wire-client.ts';

const UUID = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

afterAll(endFleets);

/** A session whose bus has the events of one turn: an echo, `chunks` chunks and the end. */
async function sessionWithTurn(base: string, chunks: number) {
  const { sessionId } = await newSession(base);
  const stream = await openStream(base, sessionId);
  const admission = await runTurn(base, stream, sessionId, `N:${chunks}:40`);
  stream.close();
  return { sessionId, epoch: admission.eventEpoch, head: chunks + 2 };
}

async function runTurn(base: string, stream: SseStream, id: string, text: string): Promise<Admission> {
  const admission = await sendPrompt(base, id, text);
  await stream.settled(admission.promptId);
  return admission;
}

const from = (cursor: number | string, epoch?: string) => ({
  headers: {
    'last-event-id': String(cursor),
    ...(epoch === undefined ? {} : { 'x-qwen-event-epoch': epoch }),
  },
});

const upTo = (head: number, after = 0) =>
  Array.from({ length: head - after }, (_value, index) => after + index + 1);

describe.each(TARGETS)('%s', (_name, target) => {
  let base: string;

  beforeAll(async () => {
    base = (await target.start({ flags: ['--sse-heartbeat-ms', '50', '--max-sessions', '0'] })).baseUrl;
  });

  test('the head is that of an event stream which nobody may buffer', async () => {
    const { sessionId } = await newSession(base);
    const stream = await openStream(base, sessionId);
    expect(stream.headers).toMatchObject({
      'content-type': 'text/event-stream',
      'cache-control': 'no-cache, no-transform',
      connection: 'keep-alive',
      'x-accel-buffering': 'no',
      'x-qwen-event-epoch': expect.stringMatching(UUID),
      'x-qwen-sse-stream-id': expect.stringMatching(UUID),
    });
    expect(stream.headers['content-encoding']).toBeUndefined();
    stream.close();
  });

  test('the head comes at once, long before any event', async () => {
    const { sessionId } = await newSession(base);
    const streams = await Promise.all([openStream(base, sessionId), openStream(base, sessionId)]);
    const [one, other] = streams.map(({ headers }) => headers['x-qwen-sse-stream-id']);
    expect(one).not.toBe(other);
    for (const stream of streams) stream.close();
  });

  test('the first frame is the retry hint, once', async () => {
    const { sessionId } = await sessionWithTurn(base, 2);
    const stream = await openStream(base, sessionId, from(0));
    await stream.event('replay_complete');
    expect(stream.frames[0]?.raw).toBe('retry: 3000');
    expect(stream.raw.match(/^retry:/gm)).toHaveLength(1);
    stream.close();
  });

  test('every frame has one data line, its type as event line, and its id on both levels or on none', async () => {
    const { sessionId } = await sessionWithTurn(base, 5);
    const stream = await openStream(base, sessionId, { ...from(0), query: '?snapshot=1' });
    await stream.event('session_snapshot');
    const events = stream.frames.filter(({ envelope }) => envelope !== undefined);
    expect(events.length).toBeGreaterThan(7);
    for (const { raw, id, event, envelope } of events) {
      expect(raw.match(/^data: /gm)).toHaveLength(1);
      expect(event).toBe(envelope?.type);
      expect(id).toBe(envelope?.id === undefined ? undefined : String(envelope.id));
      expect(envelope).toMatchObject({ v: 1, _meta: { serverTimestamp: expect.any(Number) } });
    }
    const synthetic = events.filter(({ id }) => id === undefined).map(({ event }) => event);
    expect(synthetic).toEqual(['replay_complete', 'session_snapshot']);
    stream.close();
  });

  test('a quiet stream has a comment at each heartbeat', async () => {
    const { sessionId } = await newSession(base);
    const stream = await openStream(base, sessionId);
    await eventually(
      'three comments',
      () => stream.frames.filter(({ raw }) => raw === ': heartbeat').length >= 3,
    );
    expect(stream.types).toEqual([]);
    stream.close();
  });

  test('without a cursor only live events come, and no replay_complete', async () => {
    const { sessionId, head } = await sessionWithTurn(base, 3);
    const stream = await openStream(base, sessionId);
    await runTurn(base, stream, sessionId, 'hello');
    expect(stream.ids).toEqual(upTo(head + 3, head));
    expect(stream.types).not.toContain('replay_complete');
    stream.close();
  });

  test('cursor 0 replays everything in the ring, then replay_complete, then live events', async () => {
    const { sessionId, head } = await sessionWithTurn(base, 3);
    const stream = await openStream(base, sessionId, from(0));
    const complete = await stream.event('replay_complete');
    expect(complete.data).toEqual({ replayedCount: head, lastReplayedEventId: head, lastEventId: head });
    expect(complete.id).toBeUndefined();
    await runTurn(base, stream, sessionId, 'hello');
    expect(stream.ids).toEqual(upTo(head + 3));
    expect(stream.types.indexOf('replay_complete')).toBe(head);
    stream.close();
  });

  test('a cursor inside replays what is after it', async () => {
    const { sessionId, head, epoch } = await sessionWithTurn(base, 10);
    const stream = await openStream(base, sessionId, from(4, epoch));
    expect((await stream.event('replay_complete')).data).toMatchObject({ replayedCount: head - 4 });
    expect(stream.ids).toEqual(upTo(head, 4));
    expect(stream.types).not.toContain('state_resync_required');
    stream.close();
  });

  test('a cursor at the head replays nothing, and says so', async () => {
    const { sessionId, head } = await sessionWithTurn(base, 2);
    const stream = await openStream(base, sessionId, from(head));
    expect((await stream.event('replay_complete')).data).toEqual({ replayedCount: 0 });
    expect(stream.ids).toEqual([]);
    stream.close();
  });

  test.each([['-1'], ['abc'], ['1.5'], ['99999999999999999999'], ['1e3'], ['0x10']])(
    'a malformed cursor counts as none: %j',
    async (cursor) => {
      const { sessionId, head } = await sessionWithTurn(base, 2);
      const stream = await openStream(base, sessionId, from(cursor));
      await runTurn(base, stream, sessionId, 'hello');
      expect(stream.types).not.toContain('replay_complete');
      expect(stream.ids[0]).toBe(head + 1);
      stream.close();
    },
  );

  test('a cursor above the head is an epoch reset: notice, whole ring, replay_complete', async () => {
    const { sessionId, head } = await sessionWithTurn(base, 2);
    const stream = await openStream(base, sessionId, from(head + 100));
    await stream.event('replay_complete');
    expect(stream.types[0]).toBe('state_resync_required');
    expect(stream.envelopes[0]?.data).toEqual({
      reason: 'epoch_reset',
      lastDeliveredId: head + 100,
      earliestAvailableId: 1,
    });
    expect(stream.envelopes[0]?.id).toBeUndefined();
    expect(stream.ids).toEqual(upTo(head));
    stream.close();
  });

  test('a cursor of another epoch is an epoch reset that says so, and the stream goes on', async () => {
    const { sessionId, head } = await sessionWithTurn(base, 2);
    const stream = await openStream(base, sessionId, from(1, randomUUID()));
    await stream.event('replay_complete');
    expect(stream.envelopes[0]).toMatchObject({
      type: 'state_resync_required',
      data: { reason: 'epoch_reset', detail: 'epoch_mismatch', lastDeliveredId: 1 },
    });
    expect(stream.ids).toEqual(upTo(head));
    await runTurn(base, stream, sessionId, 'hello');
    stream.close();
  });

  test.each([['no blanks'], ['x'.repeat(65)], ['a/b']])('a malformed epoch is ignored: %j', async (epoch) => {
    const { sessionId, head } = await sessionWithTurn(base, 2);
    const stream = await openStream(base, sessionId, from(2, epoch));
    await stream.event('replay_complete');
    expect(stream.ids).toEqual(upTo(head, 2));
    stream.close();
  });

  test('an epoch without a cursor is ignored', async () => {
    const { sessionId } = await sessionWithTurn(base, 2);
    const stream = await openStream(base, sessionId, { headers: { 'x-qwen-event-epoch': randomUUID() } });
    await runTurn(base, stream, sessionId, 'hello');
    expect(stream.types).not.toContain('state_resync_required');
    stream.close();
  });

  test('a new session under an old id has a new epoch, and its ids begin at 1', async () => {
    const sessionId = randomUUID();
    await createSession(base, { sessionId });
    const first = await openStream(base, sessionId);
    const before = await runTurn(base, first, sessionId, 'hello');
    await call(base, 'DELETE', `/session/${sessionId}`);
    await createSession(base, { sessionId });
    const second = await openStream(base, sessionId, from(2, before.eventEpoch));
    const after = await runTurn(base, second, sessionId, 'hello');
    expect(after.eventEpoch).not.toBe(before.eventEpoch);
    expect(second.envelopes[0]?.data).toMatchObject({ reason: 'epoch_reset', detail: 'epoch_mismatch' });
    expect(second.ids).toEqual(upTo(3));
    second.close();
  });

  test('with snapshot=1 and no cursor the session_snapshot is the first event', async () => {
    const { sessionId } = await sessionWithTurn(base, 1);
    const stream = await openStream(base, sessionId, { query: '?snapshot=1' });
    const frame = await stream.event('session_snapshot');
    expect(stream.types[0]).toBe('session_snapshot');
    expect(frame.data).toMatchObject({ sessionId, recordingDegraded: false });
    expect(frame.data).toHaveProperty('currentModelId');
    expect(frame.data).toHaveProperty('currentApprovalMode');
    stream.close();
  });

  test.each([['15'], ['2049'], ['abc'], ['-16'], ['16.5'], ['']])(
    'maxQueued out of 16 to 2048 is 400 invalid_max_queued: %j',
    async (value) => {
      const { sessionId } = await newSession(base);
      const answer = await call(base, 'GET', `/session/${sessionId}/events?maxQueued=${value}`);
      expect([answer.status, answer.json.code]).toEqual([400, 'invalid_max_queued']);
    },
  );

  test.each([['16'], ['2048']])('maxQueued at its bounds is taken: %s', async (value) => {
    const { sessionId } = await newSession(base);
    (await openStream(base, sessionId, { query: `?maxQueued=${value}` })).close();
  });

  test('the diagnostic parameters are never rejected', async () => {
    const { sessionId } = await newSession(base);
    const query = `?connectReason=${encodeURIComponent('§$%')}&previousStreamId=x`;
    (await openStream(base, sessionId, { query })).close();
  });

  test.each([['client_of_nobody'], ['no blanks']])(
    'a client id means nothing to the event stream: %s',
    async (clientId) => {
      const { sessionId } = await newSession(base);
      (await openStream(base, sessionId, { headers: clientHeader(clientId) })).close();
    },
  );

  test('a frame of the agent’s goes out with every field that it had', async () => {
    const { sessionId } = await newSession(base);
    const stream = await openStream(base, sessionId);
    await runTurn(base, stream, sessionId, 'unknown-update');
    const updates = stream.ofType('session_update').map(({ data }) => data);
    expect(updates).toContainEqual({
      sessionId,
      update: { sessionUpdate: 'stub_unknown', extra: { deep: [1, null, 'ä'] }, timestamp: 12 },
    });
    stream.close();
  });
});

describe.each(TARGETS)('%s with small bounds', (_name, target) => {
  let base: string;

  beforeAll(async () => {
    const flags = ['--event-ring-size', '10', '--max-subscribers-per-session', '2', '--sse-retry-ms', '77'];
    base = (await target.start({ flags })).baseUrl;
  });

  test('a cursor before the ring is told ring_evicted, then gets what survived', async () => {
    const { sessionId, head, epoch } = await sessionWithTurn(base, 30);
    const stream = await openStream(base, sessionId, from(3, epoch));
    expect((await stream.event('replay_complete')).data).toMatchObject({
      replayedCount: 10,
      lastEventId: head,
    });
    expect(stream.envelopes[0]).toMatchObject({
      type: 'state_resync_required',
      data: { reason: 'ring_evicted', lastDeliveredId: 3, earliestAvailableId: head - 9 },
    });
    expect(stream.ids).toEqual(upTo(head, head - 10));
    stream.close();
  });

  test('a cursor just before the ring’s oldest event has missed nothing', async () => {
    const { sessionId, head } = await sessionWithTurn(base, 30);
    const stream = await openStream(base, sessionId, from(head - 10));
    await stream.event('replay_complete');
    expect(stream.types).not.toContain('state_resync_required');
    expect(stream.ids).toEqual(upTo(head, head - 10));
    stream.close();
  });

  test('a burst that is larger than the ring evicts no reader that keeps up', async () => {
    const { sessionId } = await newSession(base);
    const stream = await openStream(base, sessionId);
    await runTurn(base, stream, sessionId, 'N:2000:40');
    expect(stream.ids).toEqual(upTo(2002));
    stream.close();
  });

  test('one stream more than allowed is 429 with the limit, and a closed one makes room', async () => {
    const { sessionId } = await newSession(base);
    const streams = [await openStream(base, sessionId), await openStream(base, sessionId)];
    const answer = await call(base, 'GET', `/session/${sessionId}/events`);
    expect([answer.status, answer.json.code]).toEqual([429, 'subscriber_limit_exceeded']);
    expect([answer.json.limit, answer.headers['retry-after']]).toEqual([2, '5']);
    streams[0]?.close();
    const third = await eventually('room for a stream', () => openStream(base, sessionId));
    for (const stream of [...streams, third]) stream.close();
  });

  test('the retry hint is the configured one', async () => {
    const { sessionId } = await newSession(base);
    const stream = await openStream(base, sessionId);
    await stream.frame('the hint', ({ raw }) => raw === 'retry: 77');
    stream.close();
  });
});

describe.each(TARGETS)('%s under a burst', (_name, target) => {
  const COUNT = 20_000;

  test('readers that read miss nothing, and the one that stopped is evicted alone', async () => {
    const { baseUrl } = await target.start();
    const { sessionId } = await newSession(baseUrl);
    const readers = await Promise.all(Array.from({ length: 3 }, () => openStream(baseUrl, sessionId)));
    const stopped = await openStream(baseUrl, sessionId, { query: '?maxQueued=64' });
    stopped.pause();
    const { promptId } = await sendPrompt(baseUrl, sessionId, `N:${COUNT}:2000`);
    for (const reader of readers) {
      await reader.settled(promptId);
      expect(reader.ids).toEqual(upTo(COUNT + 2));
      expect(reader.types).not.toContain('client_evicted');
    }
    stopped.resume();
    const evicted = await stopped.event('client_evicted');
    expect(evicted.data).toMatchObject({
      reason: expect.stringMatching(/^queue_(?:bytes_)?overflow$/),
      droppedAfter: Math.max(...stopped.ids),
      maxQueued: 64,
    });
    expect(await stopped.end).toBe('ended');
    expect(stopped.ids).toEqual(upTo(stopped.ids.length));
    expect(stopped.unfinished).toBe('');
    for (const reader of readers) reader.close();
  });

  test('a replay over its budget ends with a notice behind what was replayed', async () => {
    const { baseUrl } = await target.start({ flags: ['--replay-budget-bytes', '65536'] });
    const { sessionId } = await newSession(baseUrl);
    const stream = await openStream(baseUrl, sessionId);
    await runTurn(baseUrl, stream, sessionId, 'N:100:2000');
    stream.close();
    const late = await openStream(baseUrl, sessionId, from(0));
    await late.event('replay_complete');
    const notice = late.types.indexOf('state_resync_required');
    expect(late.envelopes[notice]?.data).toMatchObject({ reason: 'replay_budget_exceeded' });
    expect(notice).toBe(late.ids.length);
    expect(late.types.at(-1)).toBe('replay_complete');
    expect(late.ids.length).toBeLessThan(100);
    await runTurn(baseUrl, late, sessionId, 'hello');
    expect(late.ids.at(-1)).toBe(105);
    late.close();
  });
});
