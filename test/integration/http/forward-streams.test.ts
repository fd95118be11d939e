import type { ServerResponse } from 'node:http';
import { request } from 'node:http';
import { afterEach, describe, expect, test } from '@jest/globals';
import { Closers, eventually, fakeDaemon, front, openStream, send } from './fake-daemon.ts';

const closers = new Closers();
afterEach(() => closers.run());

const frame = (id: number, text = 'x') =>
  `id: ${id}\nevent: session_update\ndata: {"id":${id},"v":1,"type":"session_update","data":"${text}"}\n\n`;

function clients(port: number, count: number) {
  return Array.from({ length: count }, () => {
    const req = request({ port, host: '127.0.0.1', path: '/session/s/events', agent: false });
    req.on('error', () => undefined);
    req.on('response', (res) => {
      res.on('error', () => undefined);
      res.resume();
    });
    req.end();
    return req;
  });
}

describe('a client that goes', () => {
  test('100 aborted event streams leave no upstream request behind', async () => {
    const daemon = await fakeDaemon(closers, (_req, res) => openStream(res));
    const { port } = await front(closers, daemon.endpoint, { relay: 'events' });
    const open = clients(port, 100);
    await eventually(() => daemon.open.size === 100);
    for (const req of open) req.destroy();
    await eventually(() => daemon.open.size === 0);
  });

  test('50 requests aborted before the daemon answered leave no upstream request behind', async () => {
    const daemon = await fakeDaemon(closers, () => undefined);
    const { port } = await front(closers, daemon.endpoint);
    const open = clients(port, 50);
    await eventually(() => daemon.open.size === 50);
    for (const req of open) req.destroy();
    await eventually(() => daemon.open.size === 0);
  });

  test('an upload aborted half way destroys the upstream request', async () => {
    const daemon = await fakeDaemon(closers, (req) => req.resume());
    const { port } = await front(closers, daemon.endpoint);
    const req = request({ port, host: '127.0.0.1', path: '/x', method: 'POST', agent: false });
    req.on('error', () => undefined);
    req.write('half');
    await eventually(() => daemon.open.size === 1);
    req.destroy();
    await eventually(() => daemon.open.size === 0);
  });
});

/** Runs one stream to which the daemon writes `written` and then does `after`; returns what the client got. */
async function stream(
  written: string,
  after: (kill: () => void, res: ServerResponse) => void,
  options: { relay?: 'events' | 'plain'; maxFrameBytes?: number } = {},
) {
  const daemon = await fakeDaemon(closers, (_req, res) => {
    openStream(res);
    res.write(written, () => setTimeout(() => after(daemon.kill, res), 30));
  });
  const { port } = await front(
    closers,
    daemon.endpoint,
    { relay: options.relay ?? 'events' },
    options.maxFrameBytes === undefined ? {} : { maxFrameBytes: options.maxFrameBytes },
  );
  return send(port, '/session/s/events');
}

describe('an event stream whose daemon dies', () => {
  test('ends with one id-less stream_error frame, and soon', async () => {
    const startedAt = performance.now();
    const answer = await stream(frame(1), (kill) => kill());
    expect(performance.now() - startedAt).toBeLessThan(10_000);
    expect(answer.isCut).toBe(false);
    expect(answer.body.startsWith(frame(1))).toBe(true);
    const last = answer.body.slice(frame(1).length);
    expect(last).toMatch(/^event: stream_error\ndata: \{.*\}\n\n$/);
    const body = JSON.parse(last.split('data: ')[1] as string);
    expect(body).toMatchObject({
      v: 1,
      type: 'stream_error',
      data: { errorKind: 'daemon_died', retryAfterMs: 1000, resumable: false },
    });
    expect(body.data.error).toMatch(/\w+ \w+/);
    expect(body._meta.serverTimestamp).toBeGreaterThan(0);
    expect(body).not.toHaveProperty('id');
  });

  test.each([1, 5, 20, frame(2).length - 2, frame(2).length - 1])(
    'gives the client whole frames only when it is cut %i bytes into one',
    async (bytes) => {
      const answer = await stream(frame(1) + frame(2).slice(0, bytes), (kill) => kill());
      expect(answer.body).not.toContain('"id":2');
      expect(answer.body.split('\n\n').filter((part) => part !== '')).toHaveLength(2);
      expect(answer.body).toContain('event: stream_error');
    },
  );
});

describe('an event stream that ends in order', () => {
  test('passes as a plain end when the daemon ends it', async () => {
    const answer = await stream(frame(1), (_kill, res) => res.end(frame(2)));
    expect(answer).toMatchObject({ isCut: false, body: frame(1) + frame(2) });
  });

  test('ends plainly at a frame boundary when the coordinator stops, and frees the daemon', async () => {
    const daemon = await fakeDaemon(closers, (_req, res) => {
      openStream(res);
      res.write(frame(1) + frame(2).slice(0, 9));
    });
    const { port, streams } = await front(closers, daemon.endpoint, { relay: 'events' });
    const answer = send(port, '/session/s/events');
    await eventually(() => daemon.open.size === 1);
    await new Promise((resolve) => setTimeout(resolve, 30));
    expect(streams.endAll('stop')).toBe(1);
    expect(await answer).toMatchObject({ isCut: false, body: frame(1) });
    await eventually(() => daemon.open.size === 0);
    expect(streams.endAll('again')).toBe(0);
  });
});

test('a frame over the bound ends the stream with stream_error and frees the daemon', async () => {
  const answer = await stream(frame(1) + frame(2, 'y'.repeat(5000)).slice(0, -1), () => undefined, {
    maxFrameBytes: 4096,
  });
  expect(answer.body).toContain('"errorKind":"frame_too_large"');
  expect(answer.body).not.toContain('yyy');
});

test('an error answer on an event route passes as it is', async () => {
  const daemon = await fakeDaemon(closers, (_req, res) => {
    res.writeHead(404, { 'Content-Type': 'application/json' }).end('{"error":"gone"}');
  });
  const { port } = await front(closers, daemon.endpoint, { relay: 'events' });
  expect(await send(port, '/session/s/events')).toMatchObject({ status: 404, body: '{"error":"gone"}' });
});

test('a slow reader of a flooding daemon is held back at the source, not in memory', async () => {
  const big = frame(1, 'z'.repeat(60 * 1024));
  let writtenBytes = 0;
  const daemon = await fakeDaemon(closers, (_req, res) => {
    openStream(res);
    const flood = () => {
      while (!res.destroyed && writtenBytes < 256 * 1024 * 1024) {
        writtenBytes += big.length;
        if (!res.write(big)) return void res.once('drain', flood);
      }
    };
    flood();
  });
  const { port } = await front(closers, daemon.endpoint, { relay: 'events' });
  const req = request({ port, host: '127.0.0.1', path: '/session/s/events', agent: false });
  req.on('error', () => undefined);
  req.on('response', (res) => {
    res.on('error', () => undefined);
    res.pause();
  });
  req.end();
  await eventually(() => writtenBytes > 0);
  let before = -1;
  await eventually(() => {
    const isStill = writtenBytes === before;
    before = writtenBytes;
    return isStill && writtenBytes > big.length;
  });
  await new Promise((resolve) => setTimeout(resolve, 200));
  // Everything between daemon and reader: the socket buffers of both hops and what the listener holds.
  expect(writtenBytes).toBeLessThan(32 * 1024 * 1024);
  req.destroy();
  await eventually(() => daemon.open.size === 0);
});
