// An agent that does anything at any time: prints what is no message, answers what nobody asked, dies in the middle of a
// line. Whatever it does, each prompt ends once, each stream ends whole, and the next session finds an agent that works.
import { readdirSync } from 'node:fs';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { eventually } from '../support/eventually.ts';
import { endFleets, type Server, startDaemon } from '../support/fleet-process.ts';
import { openStream, type SseStream, streamFrom } from '../support/sse-stream.ts';
import { call, newSession, sendPrompt } from '../support/wire-client.ts';

const SCALE = Number(process.env.QWEN_TEST_SCALE ?? 1);
const SEED = Number(process.env.QWEN_TEST_SEED ?? 20_261_120);
const RUNS = Math.ceil(30 * SCALE);

let server: Server;

beforeAll(async () => {
  server = await startDaemon({ flags: ['--channel-reuse-ms', '100'] });
});

afterAll(endFleets);

const message = (fields: Record<string, unknown>) =>
  `raw:${JSON.stringify({ jsonrpc: '2.0', ...fields })}\\n`;

/** What an agent does and goes on. */
const PASSING = [
  'hello',
  'N:50:200',
  'sleep:10',
  'garbage',
  'unknown-update',
  'stderr:some words',
  'notify:no/such/method:{}',
  'notify:qwen/notify/session/title-update:{"title":"T"}',
  'call:no/such/method:{}',
  'call:craft/drainMidTurnQueue:{}',
  'call:fs/read_text_file:{"path":"/etc/passwd"}',
  'call:session/request_permission:{"options":"none"}',
  'permissions:70',
  'raw:\\n\\n  \\n',
  `raw:${'x'.repeat(200_000)}\\n`,
  message({ id: 1, result: {} }),
  message({ id: null, result: {} }),
  message({ id: { odd: true }, method: 'session/request_permission', params: [] }),
  message({ id: 'same', method: 'no/such' }) + message({ id: 'same', method: 'no/such' }).slice(4),
  message({ method: 'session/update' }),
  message({ method: 'session/update', params: { sessionId: 7, update: {} } }),
  message({ method: 'session/update', params: { sessionId: 'nobody', update: {} } }),
  message({ method: '', params: 'text' }),
];
/** How a turn may end without being cancelled, rightly or wrongly. */
const ENDING = [
  'error:-32000:some error',
  'answer:{}',
  'answer:{"error":null}',
  'answer:{"result":{"stopReason":[]},"error":{}}',
  'answer:{"result":7}',
  'after-answer:late words',
];
/** What ends only by a cancel, if at all. */
const STAYING = ['hang', 'permission', 'answer:{"id":"another","result":{}}', 'ignore-cancel'];
const DYING = [
  'crash',
  'crash-signal',
  'last-words',
  'exit:0',
  'close-stdin',
  'raw:{"jsonrpc":"2.0","method":"session/upd ; exit:3',
  'raw:{"jsonrpc":"2.0","id":2,"result":{} ; exit:0',
];

const directive = fc.oneof(
  { weight: 16, arbitrary: fc.constantFrom(...PASSING) },
  { weight: 3, arbitrary: fc.constantFrom(...ENDING) },
  { weight: 1, arbitrary: fc.constantFrom(...STAYING) },
  { weight: 1, arbitrary: fc.constantFrom(...DYING) },
);
const step = fc.oneof(
  {
    weight: 5,
    arbitrary: fc.record({
      kind: fc.constant('prompt' as const),
      session: fc.nat({ max: 1 }),
      text: fc.array(directive, { minLength: 1, maxLength: 6 }).map((all) => all.join(' ; ')),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constantFrom('cancel' as const, 'mid-turn' as const),
      session: fc.nat({ max: 1 }),
      text: fc.constant(''),
    }),
  },
);
type Step = typeof step extends fc.Arbitrary<infer T> ? T : never;

interface Played {
  readonly sessionId: string;
  readonly stream: SseStream;
  readonly prompts: string[];
}

async function open(): Promise<Played> {
  const { sessionId } = await newSession(server.baseUrl);
  return { sessionId, stream: await openStream(server.baseUrl, sessionId), prompts: [] };
}

/** A session that has died or is full refuses; that is an answer too. */
async function play({ sessionId, prompts }: Played, { kind, text }: Step): Promise<void> {
  const base = `/session/${sessionId}`;
  if (kind === 'cancel') await call(server.baseUrl, 'POST', `${base}/cancel`);
  else if (kind === 'mid-turn')
    await call(server.baseUrl, 'POST', `${base}/mid-turn-message`, { json: { message: 'meanwhile' } });
  else {
    const { status, json } = await call(server.baseUrl, 'POST', `${base}/prompt`, {
      json: { prompt: [{ type: 'text', text }] },
    });
    expect([202, 404, 503]).toContain(status);
    if (status === 202) prompts.push(String(json.promptId));
  }
}

const endsOf = ({ stream }: Played, promptId: string) =>
  stream.envelopes.filter(
    ({ type, data }) => type.startsWith('turn_') && (data as { promptId?: string }).promptId === promptId,
  );

/** Waits a moment for what ends by itself, cancels what does not, closes what stays. */
async function finish(played: Played): Promise<void> {
  const { sessionId, stream, prompts } = played;
  const hasSettled = () => prompts.every((promptId) => endsOf(played, promptId).length > 0);
  for (let patience = 0; patience < 3 && !hasSettled(); patience += 1) {
    await eventually('the ends', hasSettled, 400).catch(() => undefined);
    if (!hasSettled()) await call(server.baseUrl, 'POST', `/session/${sessionId}/cancel`);
  }
  await call(server.baseUrl, 'DELETE', `/session/${sessionId}`);
  expect(await stream.end).toBe('ended');
}

function check(played: Played): void {
  const { stream, prompts } = played;
  for (const promptId of prompts) expect(endsOf(played, promptId)).toHaveLength(1);
  expect(stream.unfinished).toBe('');
  expect(stream.ids).toEqual(stream.ids.map((_id, index) => index + 1));
  expect(stream.types.filter((type) => /^session_(?:closed|died)$/.test(type))).toEqual([
    stream.types.at(-1),
  ]);
  const asked = stream.ofType('permission_request').length;
  expect(stream.ofType('permission_resolved')).toHaveLength(asked);
}

const openFiles = () => readdirSync(`/proc/${server.pid}/fd`).length;

test('whatever the agent does, each prompt ends once and the next session works', async () => {
  await finish(await open());
  const before = openFiles();
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 8 }), async (steps) => {
      const sessions = [await open(), await open()];
      for (const taken of steps) {
        const played = sessions[taken.session];
        if (played !== undefined) await play(played, taken);
      }
      await Promise.all(sessions.map(finish));
      for (const played of sessions) check(played);
      const { sessionId } = await newSession(server.baseUrl);
      const admission = await sendPrompt(server.baseUrl, sessionId, 'still there?');
      const stream = await streamFrom(server.baseUrl, sessionId, admission);
      expect((await stream.settled(admission.promptId)).type).toBe('turn_complete');
      await call(server.baseUrl, 'DELETE', `/session/${sessionId}`);
    }),
    { numRuns: RUNS, seed: SEED, endOnFailure: true },
  );
  expect(server.exit).toBeUndefined();
  const agents = () => server.scratch.processes().filter(({ pid }) => pid !== server.pid);
  await eventually('the end of every agent', () => agents().length === 0);
  await eventually('the descriptors of before', () => openFiles() <= before + 2);
}, 300_000);

test('a line beyond every bound ends the agent, not the daemon', async () => {
  const { sessionId } = await newSession(server.baseUrl);
  const admission = await sendPrompt(server.baseUrl, sessionId, `long-line:${70 * 1024 * 1024}`);
  const stream = await streamFrom(server.baseUrl, sessionId, admission);
  expect(await stream.end).toBe('ended');
  expect(stream.types.slice(-3)).toEqual(['prompt_cancelled', 'turn_error', 'session_died']);
  await finish(await open());
});
