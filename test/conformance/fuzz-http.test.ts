// Requests by the hundred that follow no rule, against one real daemon: each gets an answer or an end, none an unexplained
// failure, and when they are over nothing of them is left.
import { readdirSync } from 'node:fs';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { eventually, within } from '../support/eventually.ts';
import { endFleets, type Server, startDaemon } from '../support/fleet-process.ts';
import { bytesOf, type OddRequest, oddRequest } from '../support/odd-requests.ts';
import { RawSocket } from '../support/raw-socket.ts';
import { openStream, streamFrom } from '../support/sse-stream.ts';
import { call, newSession, sendPrompt } from '../support/wire-client.ts';

const SCALE = Number(process.env.QWEN_TEST_SCALE ?? 1);
const SEED = Number(process.env.QWEN_TEST_SEED ?? 20_261_120);
const AT_ONCE = 32;
const ROUNDS = Math.ceil(24 * SCALE);

let server: Server;
let liveSession = '';

beforeAll(async () => {
  server = await startDaemon({ flags: ['--request-head-timeout-ms', '300', '--max-sessions', '0'] });
  liveSession = (await newSession(server.baseUrl)).sessionId;
});

afterAll(endFleets);

/** Sends one and waits for its end; an event stream is left once its head is there. */
async function answerTo(made: OddRequest): Promise<string> {
  const socket = new RawSocket(server.baseUrl);
  socket.send(bytesOf(made, liveSession, new URL(server.baseUrl).host));
  const isStream = (text: string) => text.includes('text/event-stream') && text.includes('\r\n\r\n');
  await within(`an end of ${JSON.stringify(made).slice(0, 300)}`, 20_000, socket.until(isStream));
  socket.destroy();
  return socket.text;
}

const openFiles = () => readdirSync(`/proc/${server.pid}/fd`).length;
const errors = () => server.stderr.split('\n').filter((line) => /^\{"level":[56]0,/.test(line));

async function expectAlive(): Promise<void> {
  const { sessionId } = await newSession(server.baseUrl);
  const admission = await sendPrompt(server.baseUrl, sessionId, 'hello');
  const stream = await streamFrom(server.baseUrl, sessionId, admission);
  expect((await stream.settled(admission.promptId)).type).toBe('turn_complete');
  stream.close();
  await call(server.baseUrl, 'DELETE', `/session/${sessionId}`);
}

test('no request goes without an answer, breaks the daemon, or leaves anything behind', async () => {
  await expectAlive();
  const before = openFiles();
  const statuses = new Set<string>();
  await fc.assert(
    fc.asyncProperty(fc.array(oddRequest, { minLength: AT_ONCE, maxLength: AT_ONCE }), async (requests) => {
      const answers = await Promise.all(requests.map(answerTo));
      for (const [index, text] of answers.entries()) {
        const [statusLine = ''] = text.split('\r\n', 1);
        // Nothing at all is what a request gets that the parser could not even begin to read.
        if (text !== '') expect(statusLine).toMatch(/^HTTP\/1\.1 \d{3}/);
        statuses.add(statusLine.slice(9, 12));
        if (text.includes('Internal server error'))
          throw new Error(`${text.slice(0, 300)}\n${JSON.stringify(requests[index])}`);
      }
      if ((await call(server.baseUrl, 'GET', `/session/${liveSession}/status`)).status !== 200)
        liveSession = (await newSession(server.baseUrl)).sessionId;
    }),
    // One run is the work of many: there is nothing to shrink that the seed does not find again.
    { numRuns: ROUNDS, seed: SEED, endOnFailure: true },
  );
  await expectAlive();
  await eventually('the descriptors of before', () => openFiles() <= before + 2);
  expect(errors()).toEqual([]);
  expect([...statuses]).toEqual(expect.arrayContaining(['200', '202', '204', '400', '404']));
}, 300_000);

test('streams that come and go leave nothing behind', async () => {
  const { sessionId } = await newSession(server.baseUrl);
  const before = openFiles();
  for (let round = 0; round < 10; round += 1) {
    const streams = await Promise.all(
      Array.from({ length: 20 }, () => openStream(server.baseUrl, sessionId)),
    );
    await sendPrompt(server.baseUrl, sessionId, 'N:50:100');
    for (const stream of streams) stream.close();
  }
  await eventually('the descriptors of before', () => openFiles() <= before + 2);
  const { json } = await call(server.baseUrl, 'GET', '/health?deep=1');
  expect(json.connectedClients).toBe(0);
});
