import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, test } from '@jest/globals';
import { type FollowedFeed, feedFollower } from '../../../coordinator/supervise/feed/follower.ts';
import { systemClock } from '../../../daemon/contract/clock.ts';
import { fail } from '../../../daemon/contract/errors.ts';
import type { FeedBody, FeedRecord } from '../../../daemon/contract/feed.ts';
import { BEAT, silentLog, snapshotOf } from '../../support/fleet-fixture.ts';

const closers: (() => Promise<void> | void)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

const SETTINGS = { feedReconnectMs: 5, feedMaxLineBytes: 4096, feedStoredWaitMs: 1000 };
const beat: FeedBody = { type: 'beat', beat: BEAT };

async function until(isTrue: () => boolean): Promise<void> {
  while (!isTrue()) await new Promise((resolve) => setTimeout(resolve, 2));
}

/** A daemon's feed over a real unix socket; the test writes each connection's lines. */
async function daemon({ listens = true } = {}) {
  const directory = mkdtempSync(join(tmpdir(), 'feed-'));
  const socketPath = join(directory, 's.sock');
  const connections: ServerResponse[] = [];
  const requests: IncomingMessage[] = [];
  let status = 200;
  const server = createServer((request, response) => {
    requests.push(request);
    connections.push(response);
    response.writeHead(status);
    response.flushHeaders();
    if (status !== 200) response.end();
  });
  const listen = () => new Promise<void>((resolve) => server.listen(socketPath, resolve));
  if (listens) await listen();
  closers.push(async () => {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
    rmSync(directory, { recursive: true });
  });
  return {
    target: {
      workspaceId: 'ws',
      incarnation: 'ws-1',
      address: { kind: 'unix', path: socketPath } as const,
      secret: 'sesame',
    },
    listen,
    requests,
    connections,
    answer: (code: number) => {
      status = code;
    },
    connected: (count: number) => until(() => connections.length >= count),
    write: (text: string) => connections.at(-1)?.write(text),
    say: (seq: number, body: FeedBody) => connections.at(-1)?.write(`${JSON.stringify({ ...body, seq })}\n`),
  };
}

function follow(target: Parameters<ReturnType<typeof feedFollower>>[0], sqliteCode = 'SQLITE_FULL') {
  const records: FeedRecord[] = [];
  const refusedSeqs = new Set<number>();
  let ups = 0;
  const feed: FollowedFeed = feedFollower({ clock: systemClock, log: silentLog, settings: SETTINGS })(
    target,
    {
      record: (record) => {
        if (refusedSeqs.has(record.seq)) throw fail('storage_unavailable', 'no', { sqliteCode });
        records.push(record);
      },
      up: () => {
        ups += 1;
      },
    },
  );
  closers.push(() => feed.close());
  return { feed, records, refusedSeqs, ups: () => ups };
}

async function synced(seq = 1, sqliteCode?: string) {
  const server = await daemon();
  const follower = follow(server.target, sqliteCode);
  await server.connected(1);
  server.say(seq, snapshotOf('ws-1'));
  await until(() => follower.feed.isUp);
  return { ...server, ...follower };
}

describe('the connection', () => {
  test('asks for the feed with the incarnation’s secret', async () => {
    const { requests } = await synced();
    expect(requests[0]?.url).toBe('/control/feed');
    expect(requests[0]?.headers.authorization).toBe('Bearer sesame');
  });

  test('is up once the snapshot is stored, and hands the deltas on in order', async () => {
    const { say, records, ups, feed } = await synced(10);
    say(11, beat);
    say(12, beat);
    await until(() => records.length === 3);
    expect(records.map(({ seq }) => seq)).toEqual([10, 11, 12]);
    expect([ups(), feed.isUp]).toEqual([1, true]);
  });

  test('is tried again until the socket is there', async () => {
    const server = await daemon({ listens: false });
    const { feed } = follow(server.target);
    await new Promise((resolve) => setTimeout(resolve, 20));
    await server.listen();
    await server.connected(1);
    server.say(1, snapshotOf('ws-1'));
    await until(() => feed.isUp);
    expect(feed.isUp).toBe(true);
  });

  test('is made again after an answer that is no 200', async () => {
    const server = await daemon();
    server.answer(503);
    const { feed } = follow(server.target);
    await server.connected(2);
    server.answer(200);
    const tried = server.connections.length;
    await server.connected(tried + 1);
    server.say(1, snapshotOf('ws-1'));
    await until(() => feed.isUp);
    expect(feed.isUp).toBe(true);
  });

  test.each([
    ['a gap', (say: (seq: number, body: FeedBody) => void) => say(3, beat)],
    ['a record told twice', (say: (seq: number, body: FeedBody) => void) => say(1, beat)],
  ])('starts over with a new snapshot after %s', async (_name, wrong) => {
    const { say, connected, feed, records, ups } = await synced();
    wrong(say);
    await connected(2);
    expect(feed.isUp).toBe(false);
    say(7, snapshotOf('ws-1'));
    await until(() => feed.isUp);
    expect(records.map(({ seq }) => seq)).toEqual([1, 7]);
    expect(ups()).toBe(2);
  });

  test.each([
    ['a line that is no record', 'nonsense\n'],
    ['a line over the bound', 'x'.repeat(5000)],
  ])('starts over after %s', async (_name, text) => {
    const { write, connected, feed } = await synced();
    write(text);
    await connected(2);
    expect(feed.isUp).toBe(false);
  });

  test('starts over when the daemon ends it', async () => {
    const { connections, connected } = await synced();
    connections[0]?.end();
    await connected(2);
    expect(connections).toHaveLength(2);
  });

  test('takes nothing before a snapshot, and no snapshot of another incarnation', async () => {
    const server = await daemon();
    const { records } = follow(server.target);
    await server.connected(1);
    server.say(1, beat);
    await server.connected(2);
    server.say(1, snapshotOf('ws-2'));
    await server.connected(3);
    expect(records).toEqual([]);
  });

  test('is read to its end before a daemon that died counts as gone', async () => {
    const { target, connected, say, connections } = await daemon();
    const { feed, records } = follow(target);
    await connected(1);
    say(1, snapshotOf('ws-1'));
    await until(() => feed.isUp);
    for (let seq = 2; seq <= 50; seq += 1) say(seq, beat);
    // Node hands them to the system at the end of this tick; no event loop has read them when the daemon is gone.
    await new Promise((resolve) => process.nextTick(resolve));
    connections.at(-1)?.destroy();
    expect(records).toHaveLength(1);
    await feed.drained(5000);
    expect(records.at(-1)?.seq).toBe(50);
  });

  test('that nobody ends is waited for no longer than was said', async () => {
    const { target, connected } = await daemon();
    const { feed } = follow(target);
    await connected(1);
    const startedAtMs = performance.now();
    await feed.drained(30);
    expect(performance.now() - startedAtMs).toBeGreaterThanOrEqual(28);
  });

  test('is not made again after close', async () => {
    const { feed, connections } = await synced();
    feed.close();
    feed.reconnect('too late');
    await new Promise((resolve) => setTimeout(resolve, 30));
    expect(connections).toHaveLength(1);
    expect(feed.isUp).toBe(false);
  });
});

describe('whether a record is stored', () => {
  test('is known at once for what the snapshot or an earlier record covers', async () => {
    const { feed } = await synced(5);
    expect(await feed.stored(3)).toBe(true);
    expect(await feed.stored(5)).toBe(true);
  });

  test('is waited for when the answer was faster than the feed', async () => {
    const { feed, say } = await synced(5);
    const stored = feed.stored(6);
    say(6, beat);
    expect(await stored).toBe(true);
  });

  test('is false when the record does not come in time', async () => {
    const { feed } = await synced(5);
    expect(await feed.stored(6)).toBe(false);
  });

  test('is the store’s refusal when its write failed, before and after it was asked for', async () => {
    const { feed, say, refusedSeqs } = await synced(5);
    refusedSeqs.add(6);
    const asked = feed.stored(6);
    say(6, beat);
    await expect(asked).rejects.toMatchObject({ status: 507 });
    await expect(feed.stored(6)).rejects.toMatchObject({ status: 507 });
  });

  test('is true again once a new snapshot has made a failed write good', async () => {
    const { feed, say, refusedSeqs, connected } = await synced(5);
    refusedSeqs.add(6);
    say(6, beat);
    await connected(2);
    expect(feed.refusal).toMatchObject({ status: 507 });
    const later = feed.stored(7);
    say(7, snapshotOf('ws-1'));
    expect(await later).toBe(true);
    expect(feed.refusal).toBeUndefined();
    expect(await feed.stored(6)).toBe(true);
  });

  test('is a refusal for what a snapshot would have brought, and for what is asked while none can be stored', async () => {
    const { feed, say, refusedSeqs, connected } = await synced(5);
    refusedSeqs.add(6).add(9);
    say(6, beat);
    await connected(2);
    const behind = feed.stored(8);
    say(9, snapshotOf('ws-1'));
    await expect(behind).rejects.toMatchObject({ status: 507 });
    await expect(feed.stored(10)).rejects.toMatchObject({ status: 507 });
  });

  test('is false at once while the store is damaged, and no refusal', async () => {
    const { feed, say, refusedSeqs, connected } = await synced(5, 'SQLITE_CORRUPT');
    refusedSeqs.add(6);
    const asked = feed.stored(6);
    say(6, beat);
    await connected(2);
    expect(await asked).toBe(false);
    expect(await feed.stored(7)).toBe(false);
    expect(feed.refusal).toBeUndefined();
  });

  test('is false for everybody once the feed is closed', async () => {
    const { feed } = await synced(5);
    const waiting = feed.stored(6);
    feed.close();
    expect(await waiting).toBe(false);
    expect(await feed.stored(5)).toBe(false);
  });
});
