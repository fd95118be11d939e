// Streams, connections and limits of a real daemon, with settings short enough to see them work.
import { afterEach, describe, expect, test } from '@jest/globals';
import { eventually, within } from '../support/eventually.ts';
import { endFleets, type Server, startDaemon } from '../support/fleet-process.ts';
import { RawSocket } from '../support/raw-socket.ts';
import { openStream, streamFrom } from '../support/sse-stream.ts';
import { call, clientHeader, createSession, newSession, sendPrompt } from '../support/wire-client.ts';

const sockets: RawSocket[] = [];

afterEach(async () => {
  for (const socket of sockets.splice(0)) socket.destroy();
  await endFleets();
});

const start = (...flags: string[]): Promise<Server> => startDaemon({ flags });

function rawSocket(base: string): RawSocket {
  const socket = new RawSocket(base);
  sockets.push(socket);
  return socket;
}

const statusOf = async (base: string, sessionId: string) =>
  (await call(base, 'GET', `/session/${sessionId}/status`)).status;

describe('a session without clients', () => {
  test('closes a grace after its last turn', async () => {
    const { baseUrl } = await start('--session-prompt-settled-close-grace-ms', '1500');
    const { sessionId, clientId } = await newSession(baseUrl);
    const stream = await streamFrom(baseUrl, sessionId, await sendPrompt(baseUrl, sessionId, 'sleep:50'));
    await call(baseUrl, 'POST', `/session/${sessionId}/detach`, { headers: clientHeader(clientId) });
    await stream.event('turn_complete');
    stream.close();
    expect(await statusOf(baseUrl, sessionId)).toBe(200);
    await eventually('the close', async () => (await statusOf(baseUrl, sessionId)) === 404);
  });

  test('is held by work of its agent and closes with it', async () => {
    const { baseUrl } = await start();
    const { sessionId, clientId } = await newSession(baseUrl);
    const held = { sessions: [{ sessionId, holds: [{ category: 'task', id: '1' }] }] };
    const report = (body: unknown) => `notify:qwen/notify/channel/active-work:${JSON.stringify(body)}`;
    const text = [report(held), 'sleep:100', 'after-answer:done'].join(' ; ');
    const stream = await streamFrom(baseUrl, sessionId, await sendPrompt(baseUrl, sessionId, text));
    await stream.event('turn_complete');
    stream.close();
    await call(baseUrl, 'POST', `/session/${sessionId}/detach`, { headers: clientHeader(clientId) });
    const { json } = await call(baseUrl, 'GET', `/session/${sessionId}/status`);
    expect(json).toMatchObject({ clientCount: 0, hasRunningBackgroundTasks: true });
    const other = await newSession(baseUrl);
    await sendPrompt(baseUrl, other.sessionId, report({ sessions: [] }));
    await eventually('the close', async () => (await statusOf(baseUrl, sessionId)) === 404);
    expect(await statusOf(baseUrl, other.sessionId)).toBe(200);
  });

  test('is closed as idle, one with a question or a turn is not', async () => {
    const { baseUrl } = await start('--session-reap-interval-ms', '20', '--session-idle-timeout-ms', '1500');
    const [quiet, asking, busy] = await Promise.all([1, 2, 3].map(() => newSession(baseUrl)));
    if (quiet === undefined || asking === undefined || busy === undefined) throw new Error('no sessions');
    await sendPrompt(baseUrl, asking.sessionId, 'permission');
    await sendPrompt(baseUrl, busy.sessionId, 'hang');
    await eventually('the idle close', async () => (await statusOf(baseUrl, quiet.sessionId)) === 404);
    for (const { sessionId } of [asking, busy]) expect(await statusOf(baseUrl, sessionId)).toBe(200);
  });
});

describe('a cap', () => {
  test('of sessions names its scope, and a place that is free again is given', async () => {
    const { baseUrl } = await start('--max-sessions', '3', '--max-total-sessions', '2');
    const first = await newSession(baseUrl);
    await newSession(baseUrl);
    const create = () => call(baseUrl, 'POST', '/session', { json: { sessionScope: 'thread' } });
    const refused = await create();
    expect([refused.status, refused.headers['retry-after']]).toEqual([503, '5']);
    expect(refused.json).toMatchObject({ code: 'session_limit_exceeded', limit: 2, scope: 'total' });
    await call(baseUrl, 'DELETE', `/session/${first.sessionId}`);
    expect((await create()).status).toBe(200);
  });

  test('of streams refuses the 65th of a session, until one has gone', async () => {
    const { baseUrl } = await start();
    const { sessionId } = await newSession(baseUrl);
    const streams = await Promise.all(Array.from({ length: 64 }, () => openStream(baseUrl, sessionId)));
    const refused = await call(baseUrl, 'GET', `/session/${sessionId}/events`);
    expect([refused.status, refused.headers['retry-after']]).toEqual([429, '5']);
    expect(refused.json).toMatchObject({ code: 'subscriber_limit_exceeded', limit: 64 });
    // Another session has places of its own.
    await openStream(baseUrl, (await newSession(baseUrl)).sessionId);
    streams[0]?.close();
    const next = await eventually('a free place', () =>
      openStream(baseUrl, sessionId).catch(() => undefined),
    );
    await sendPrompt(baseUrl, sessionId, 'hello');
    for (const stream of [next, ...streams.slice(1)]) await stream.event('turn_complete');
  });

  test('of connections turns the next one away, and those that are there go on', async () => {
    const { baseUrl } = await start('--max-connections', '4');
    const { sessionId } = await newSession(baseUrl);
    const streams = [];
    for (let open = 0; open < 3; open += 1) streams.push(await openStream(baseUrl, sessionId));
    const last = rawSocket(baseUrl);
    last.send('GET /health HTTP/1.1\r\nHost: localhost\r\n');
    await eventually('the fourth connection', async () => {
      const extra = rawSocket(baseUrl);
      return (await extra.exchange('GET /health HTTP/1.1\r\n\r\n')) === '';
    });
    last.destroy();
    // The connections of this test's own calls free their places in their own time.
    await eventually('a place', () => sendPrompt(baseUrl, sessionId, 'hello'));
    for (const stream of streams) await stream.event('turn_complete');
  });
});

test('a stream that takes nothing for the idle time is evicted by that name, an idle healthy one is not', async () => {
  const { baseUrl } = await start('--writer-idle-timeout-ms', '1500', '--sse-heartbeat-ms', '100');
  const { sessionId } = await newSession(baseUrl);
  const [stuck, idle] = [await openStream(baseUrl, sessionId), await openStream(baseUrl, sessionId)];
  stuck.pause();
  await sendPrompt(baseUrl, sessionId, 'N:7000:2000');
  await idle.event('turn_complete');
  await eventually('the eviction', async () => {
    const { json } = await call(baseUrl, 'GET', '/health?deep=1');
    return json.connectedClients === 1;
  });
  stuck.resume();
  expect(await stuck.end).toBe('ended');
  const evicted = stuck.envelopes.at(-1);
  expect(evicted).toMatchObject({
    type: 'client_evicted',
    data: { reason: 'writer_idle_timeout', errorKind: 'writer_idle_timeout', timeoutMs: 1500 },
  });
  expect(stuck.ids).toEqual(idle.ids.slice(0, stuck.ids.length));
  await sendPrompt(baseUrl, sessionId, 'hello');
  await eventually('the next turn', () => idle.ofType('turn_complete').length === 2);
});

describe('rate limits', () => {
  const FLAGS = ['--rate-limit', '--rate-limit-prompt', '2', '--rate-limit-mutation', '4'];
  const limited = (...more: string[]) => start(...FLAGS, '--rate-limit-read', '5', ...more);

  test('count each tier of a client, say what is left, and when to come back', async () => {
    const { baseUrl } = await limited();
    const { sessionId, clientId } = await newSession(baseUrl);
    const headers = clientHeader(clientId);
    const prompt = () =>
      call(baseUrl, 'POST', `/session/${sessionId}/prompt`, {
        json: { prompt: [{ type: 'text', text: 'hi' }] },
        headers,
      });
    for (const remaining of ['1', '0']) {
      const { status, headers: given } = await prompt();
      expect([status, given['x-ratelimit-limit'], given['x-ratelimit-remaining']]).toEqual([
        202,
        '2',
        remaining,
      ]);
    }
    const refused = await prompt();
    const { tier, retryAfterMs, code } = refused.json;
    expect([refused.status, code, tier]).toEqual([429, 'rate_limit_exceeded', 'prompt']);
    expect(Number(retryAfterMs)).toBeGreaterThan(50_000);
    const retryAfterS = String(Math.ceil(Number(retryAfterMs) / 1000));
    expect([refused.headers['retry-after'], refused.headers['x-ratelimit-reset']]).toEqual([
      retryAfterS,
      retryAfterS,
    ]);
    const { json: health } = await call(baseUrl, 'GET', '/health?deep=1');
    expect(health.rateLimitHits).toEqual({ prompt: 1, mutation: 0, read: 0 });
    // Another tier, and another client, are not touched.
    const own = await call(baseUrl, 'GET', `/session/${sessionId}/status`, { headers });
    expect([own.status, own.headers['x-ratelimit-limit']]).toEqual([200, '5']);
    const other = await createSession(baseUrl, { sessionScope: 'thread' });
    await sendPrompt(baseUrl, other.sessionId, 'hi', other.clientId);
  });

  test('never touch health, heartbeats and event streams', async () => {
    const { baseUrl } = await limited();
    const { sessionId, clientId } = await newSession(baseUrl);
    for (let round = 0; round < 8; round += 1) {
      expect((await call(baseUrl, 'GET', '/health')).status).toBe(200);
      const beat = await call(baseUrl, 'POST', `/session/${sessionId}/heartbeat`, {
        headers: clientHeader(clientId),
      });
      expect([beat.status, beat.headers['x-ratelimit-limit']]).toEqual([200, undefined]);
      (await openStream(baseUrl, sessionId)).close();
    }
  });

  test('begin anew with the next window, and are announced', async () => {
    const { baseUrl } = await limited('--rate-limit-window-ms', '2000');
    const read = () => call(baseUrl, 'GET', '/capabilities');
    const statuses = [];
    for (let round = 0; round < 6; round += 1) statuses.push((await read()).status);
    expect(statuses).toEqual([200, 200, 200, 200, 200, 429]);
    const again = await eventually('the next window', async () => {
      const answer = await read();
      return answer.status === 200 && answer;
    });
    expect(again.json.features).toContain('rate_limit');
  });
});

describe('a connection that does not get to the point', () => {
  const quick = () => start('--request-head-timeout-ms', '300');

  test.each([
    ['nothing at all', ''],
    ['half a request line', 'GET /hea'],
    ['half a head', 'POST /session HTTP/1.1\r\nHost: localhost\r\nContent-Le'],
    [
      'half a body',
      'POST /session HTTP/1.1\r\nHost: HOST\r\nContent-Type: application/json\r\nContent-Length: 50\r\n\r\n{"a"',
    ],
    [
      'half a chunk',
      'POST /session HTTP/1.1\r\nHost: HOST\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n9\r\n{"a"',
    ],
  ])('is closed: %s', async (_what, text) => {
    const { baseUrl } = await quick();
    const { sessionId } = await newSession(baseUrl);
    const stream = await openStream(baseUrl, sessionId);
    const answer = await rawSocket(baseUrl).exchange(text.replace('HOST', new URL(baseUrl).host));
    if (answer !== '') expect(answer).toMatch(/^HTTP\/1\.1 408 /);
    // An open stream has got to its point.
    await sendPrompt(baseUrl, sessionId, 'hello');
    await stream.event('turn_complete');
  });

  test('is closed byte by byte too, and many of them keep nobody else out', async () => {
    const { baseUrl } = await quick();
    const slow = Array.from({ length: 100 }, () => rawSocket(baseUrl));
    const text = 'GET /health HTTP/1.1\r\nX-Slow: ';
    const trickle = setInterval(() => {
      for (const socket of slow) socket.send('x');
    }, 20);
    for (const socket of slow) socket.send(text);
    try {
      expect((await call(baseUrl, 'GET', '/health')).status).toBe(200);
      await within('their end', 20_000, Promise.all(slow.map(({ closed }) => closed)));
    } finally {
      clearInterval(trickle);
    }
  });

  test('is answered when only its own side is closed', async () => {
    const { baseUrl } = await quick();
    const socket = rawSocket(baseUrl);
    socket.send(`GET /health HTTP/1.1\r\nHost: ${new URL(baseUrl).host}\r\nConnection: close\r\n\r\n`);
    socket.halfClose();
    await socket.closed;
    expect(socket.text).toContain('{"status":"ok"}');
  });
});

describe('the log', () => {
  const FORGED = '\n{"level":60,"msg":"forged"}\n';

  test('has one JSON object a line, whatever clients and the agent put into it', async () => {
    const server = await start('--log-level', 'trace');
    const { baseUrl } = server;
    const { sessionId } = await newSession(baseUrl);
    const encoded = encodeURIComponent(FORGED);
    const json = { cwd: `/x${FORGED}`, sessionId: FORGED, sourceType: FORGED, modelId: FORGED };
    for (const path of [
      `/session/${encoded}`,
      `/${encoded}`,
      `/workspace/${encoded}/sessions?cursor=${encoded}`,
    ])
      for (const method of ['GET', 'POST', 'DELETE', 'PATCH']) await call(baseUrl, method, path, { json });
    const headers = { 'x-request-id': 'a\tb', 'x-qwen-client-id': '\x80{"level":60}', 'user-agent': 'x\ty' };
    await call(baseUrl, 'POST', `/session/${sessionId}/prompt`, { json: {}, headers });
    await call(baseUrl, 'POST', `/session/${sessionId}/model`, { json: { modelId: FORGED } });
    const agentWords = [`stderr:${FORGED}`, 'garbage', 'notify:\n{"forged"}\n:{}', 'call:\nforged\n:{}'].join(
      ' ; ',
    );
    const stream = await streamFrom(baseUrl, sessionId, await sendPrompt(baseUrl, sessionId, agentWords));
    await stream.event('turn_complete');
    await server.stop();
    const lines = server.stderr.split('\n').filter((line) => line !== '');
    const plain = lines.filter((line) => !line.startsWith('{'));
    expect(plain).toEqual([expect.stringContaining('listening on')]);
    for (const line of lines.slice(1)) {
      const entry = JSON.parse(line) as Record<string, unknown>;
      expect(entry.name).toBe('daemon');
      expect(entry.msg).not.toBe('forged');
    }
    expect(lines.some((line) => line.includes('forged'))).toBe(true);
  });
});
