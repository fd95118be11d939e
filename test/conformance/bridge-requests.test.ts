// Requests that no friendly client sends, one daemon each: what they get, and that they cost nobody else anything.
import { request } from 'node:http';
import { join } from 'node:path';
import { afterEach, describe, expect, test } from '@jest/globals';
import { eventually, within } from '../support/eventually.ts';
import { daemonProcess, endFleets, type Server, startDaemon } from '../support/fleet-process.ts';
import { RawSocket } from '../support/raw-socket.ts';
import { streamFrom } from '../support/sse-stream.ts';
import { call, newSession, sendPrompt } from '../support/wire-client.ts';

afterEach(endFleets);

const JSON_TYPE = { 'content-type': 'application/json' };

/** What it logged at the level of errors. */
const errorsOf = ({ stderr }: Server) => stderr.split('\n').filter((line) => /^\{"level":[56]0,/.test(line));

async function expectTurn(base: string, sessionId: string): Promise<void> {
  const admission = await sendPrompt(base, sessionId, 'hello');
  const stream = await streamFrom(base, sessionId, admission);
  expect((await stream.settled(admission.promptId)).type).toBe('turn_complete');
}

describe('a body that is nested beyond all reason', () => {
  test.each([
    ['in a prompt', 'prompt', '{"prompt":[{"type":"text","text":"hi","x":DEEP}]}'],
    ['beside a prompt', 'prompt', '{"prompt":[{"type":"text","text":"hi"}],"extra":DEEP}'],
    ['in objects', 'prompt', '{"prompt":[{"type":"text","text":"hi","x":OBJECTS}]}'],
    ['in a heartbeat', 'heartbeat', '{"x":DEEP}'],
  ])('is refused and breaks no turn: %s', async (_where, action, template) => {
    const server = await startDaemon();
    const { baseUrl } = server;
    const [{ sessionId }, other] = [await newSession(baseUrl), await newSession(baseUrl)];
    for (const depth of [600, 200_000]) {
      const body = template
        .replace('DEEP', '['.repeat(depth) + ']'.repeat(depth))
        .replace('OBJECTS', `${'{"a":'.repeat(depth)}1${'}'.repeat(depth)}`);
      const answer = await call(baseUrl, 'POST', `/session/${sessionId}/${action}`, {
        body,
        headers: JSON_TYPE,
      });
      expect([answer.status, answer.json.code]).toEqual([400, undefined]);
      expect(answer.json.error).toContain('nested');
    }
    await expectTurn(baseUrl, sessionId);
    await expectTurn(baseUrl, other.sessionId);
    expect(errorsOf(server)).toEqual([]);
  });

  test('is nothing to a hundred levels', async () => {
    const { baseUrl } = await startDaemon();
    const { sessionId } = await newSession(baseUrl);
    const body = `{"prompt":[{"type":"text","text":"hi","x":${'['.repeat(100)}${']'.repeat(100)}}]}`;
    const answer = await call(baseUrl, 'POST', `/session/${sessionId}/prompt`, { body, headers: JSON_TYPE });
    expect(answer.status).toBe(202);
  });
});

test('HEAD of an event stream has its head and ends there', async () => {
  const { baseUrl } = await startDaemon();
  const { sessionId } = await newSession(baseUrl);
  const socket = new RawSocket(baseUrl);
  const host = `Host: ${new URL(baseUrl).host}\r\n`;
  const head = `HEAD /session/${sessionId}/events HTTP/1.1\r\n${host}\r\n`;
  // Another request on the same connection shows that the first one is over.
  const text = await socket.exchange(
    `${head}${head}GET /health HTTP/1.1\r\n${host}Connection: close\r\n\r\n`,
  );
  expect(text.split('Content-Type: text/event-stream')).toHaveLength(3);
  expect(text).not.toContain('retry:');
  expect(text).toContain('{"status":"ok"}');
  const { json } = await call(baseUrl, 'GET', '/health?deep=1');
  expect(json.connectedClients).toBe(0);
});

test('a Host that is no host does not matter on a unix socket', async () => {
  const server = daemonProcess({ flags: ['--socket', 'SOCKET'] });
  server.signal('SIGKILL');
  await server.exited;
  const path = join(server.scratch.dir, 'd.sock');
  const daemon = daemonProcess({ scratch: server.scratch, flags: ['--socket', path] });
  await eventually('its socket', () => daemon.stderr.includes(path));
  for (const host of ['[', 'a b', '', 'x:y:z'])
    for (const target of ['/health?deep=1', '/capabilities', '/workspace/x/sessions?size=1']) {
      const status = await new Promise<number>((resolve, reject) => {
        const req = request({ socketPath: path, path: target, headers: { host } }, (res) => {
          res.resume();
          resolve(res.statusCode ?? 0);
        });
        req.on('error', reject).end();
      });
      expect([host, target, status]).toEqual([host, target, target.startsWith('/workspace') ? 400 : 200]);
    }
});

test('a client that leaves in the middle of its body is no error of ours', async () => {
  const server = await startDaemon({ flags: ['--log-level', 'debug'] });
  const { baseUrl } = server;
  const { host } = new URL(baseUrl);
  const head = `POST /session HTTP/1.1\r\nHost: ${host}\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n`;
  for (let left = 0; left < 20; left += 1) {
    const socket = new RawSocket(baseUrl);
    socket.send(`${head}{"a":`);
    setTimeout(() => socket.destroy(), 20);
    await within('its end', 20_000, socket.closed);
  }
  expect((await call(baseUrl, 'GET', '/health?deep=1')).json).toMatchObject({ sessions: 0 });
  await eventually('its word about them', () => server.stderr.includes('left before'));
  expect(errorsOf(server)).toEqual([]);
});
