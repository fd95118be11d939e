// A bare daemon is asked to end while clients are connected: they get answers until the end, in words that are true.
import { connect } from 'node:net';
import { afterEach, describe, expect, test } from '@jest/globals';
import { eventually, within } from '../support/eventually.ts';
import { endFleets, startDaemon, stubAgent } from '../support/fleet-process.ts';
import { streamFrom } from '../support/sse-stream.ts';
import { call, newSession, sendPrompt } from '../support/wire-client.ts';

afterEach(endFleets);

/** A request whose head is sent in two parts: the server has seen its beginning, so the connection is busy. */
function requestInTwoParts(base: string, requestLine: string) {
  const { hostname, port, host } = new URL(base);
  const socket = connect(Number(port), hostname);
  let text = '';
  socket.setEncoding('utf8').on('data', (chunk: string) => {
    text += chunk;
  });
  const closed = new Promise<void>((resolve, reject) =>
    socket.on('close', () => resolve()).on('error', reject),
  );
  return {
    begin: () =>
      new Promise<void>((resolve) =>
        socket.write(`${requestLine} HTTP/1.1\r\nHost: ${host}\r\n`, () => resolve()),
      ),
    /** Sends the rest and resolves with the whole answer. */
    async finish(): Promise<string> {
      socket.write('Connection: close\r\n\r\n');
      await closed;
      return text;
    },
  };
}

describe('SIGTERM to a bare daemon', () => {
  test('answers a request that had begun to arrive, and in true words', async () => {
    // An agent that takes its time to go holds the end back for long enough to ask.
    const agent = stubAgent('--ignore-term');
    const server = await startDaemon({ agent, flags: ['--agent-kill-grace-ms', '2500'] });
    await newSession(server.baseUrl);
    const create = requestInTwoParts(server.baseUrl, 'POST /session');
    const health = requestInTwoParts(server.baseUrl, 'GET /health');
    await Promise.all([create.begin(), health.begin()]);
    // An answer on a later connection means that the earlier bytes have been read.
    await call(server.baseUrl, 'GET', '/health');
    server.signal('SIGTERM');
    await eventually('the beginning of the end', () => server.stderr.includes('"ending"'));
    expect(await create.finish()).toMatch(/^HTTP\/1\.1 503 [\s\S]*"code":"daemon_draining"/);
    expect(await health.finish()).toMatch(/^HTTP\/1\.1 200 [\s\S]*\{"status":"ok"\}$/);
    expect(await server.ended()).toEqual({ code: 0, signal: null });
  });

  test('ends the turn by name, the stream in order, and the agent with all that it started', async () => {
    const server = await startDaemon();
    const { sessionId } = await newSession(server.baseUrl);
    const admission = await sendPrompt(server.baseUrl, sessionId, 'child ; setsid-child ; hang');
    const stream = await streamFrom(server.baseUrl, sessionId, admission);
    await eventually('two children', () => stream.texts.length === 2);
    server.signal('SIGTERM');
    expect(await within('the end of the stream', 20_000, stream.end)).toBe('ended');
    expect((await stream.settled(admission.promptId)).data).toMatchObject({ code: 'daemon_shutdown' });
    expect(stream.envelopes.at(-1)).toMatchObject({
      type: 'session_died',
      data: { reason: 'daemon_shutdown' },
    });
    expect(await server.ended()).toEqual({ code: 0, signal: null });
    expect(server.scratch.processes()).toEqual([]);
  });
});

test('a bare daemon has no coordinator to lose: it outlives the orphan limit', async () => {
  const orphanLimit = ['--orphan-limit', '50', '--feed-beat-ms', '20'];
  const idleScan = ['--session-idle-timeout-ms', '400', '--session-reap-interval-ms', '50'];
  const server = await startDaemon({ flags: [...orphanLimit, ...idleScan] });
  const { sessionId } = await newSession(server.baseUrl);
  // Its own clock shows that the limit is long over.
  await eventually(
    'the end of the idle session',
    async () => (await call(server.baseUrl, 'GET', `/session/${sessionId}/status`)).status === 404,
  );
  expect((await call(server.baseUrl, 'GET', '/health')).status).toBe(200);
});
