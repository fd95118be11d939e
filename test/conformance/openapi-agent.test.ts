// What only the agent of a session can tell or do: every such operation of docs/openapi.yaml, asked of real servers in its
// success and its main refusals; every answer is held against the description.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { endFleets, type Server, stubAgent } from '../support/fleet-process.ts';
import { Examiner } from '../support/openapi.ts';
import { Scratch } from '../support/scratch.ts';
import { TARGETS } from '../support/targets.ts';
import { createSession, newSession } from '../support/wire-client.ts';

/**
 * Preloaded into the scripted agent, which knows no services: each call of one of these, which it would answer by "Method not
 * found", is answered by this.
 */
const SERVICES = `
import { randomUUID } from 'node:crypto';
import { writeFileSync } from 'node:fs';
const remembered = (id) => process.argv[process.argv.indexOf('--memory') + 1] + '/' + id + '.jsonl';
const control = {
  recap: () => ({ recap: 'so far, so good' }),
  btw: () => ({ answer: null }),
  language: () => ({ language: 'de', outputLanguage: 'German', refreshed: true }),
  rewind: () => ({ targetTurnIndex: 0, filesChanged: ['a'], filesFailed: [] }),
  continue: () => ({ accepted: true }),
  branch: () => {
    const newSessionId = randomUUID();
    writeFileSync(remembered(newSessionId), '');
    return { newSessionId, displayName: 'a fork' };
  },
};
const services = {
  'session/set_config_option': () => ({ configOptions: [{ id: 'reasoning_effort' }] }),
  ...Object.fromEntries(Object.entries(control).map(([name, run]) => ['qwen/control/session/' + name, run])),
};
const write = process.stdout.write.bind(process.stdout);
process.stdout.write = (text, ...rest) => {
  const [, method] = /"Method not found: ([^"]+)"/.exec(text) ?? [];
  if (services[method] === undefined) return write(text, ...rest);
  const { id } = JSON.parse(text);
  return write(JSON.stringify({ jsonrpc: '2.0', id, result: services[method]() }) + '\\n');
};
`;

const READS = ['context', 'supported-commands', 'context-usage', 'rewind/snapshots'];
const FIGURES = ['stats', 'tasks', 'agents', 'lsp', 'hooks', 'resources'];
const text = (words: string) => ({ json: { prompt: [{ type: 'text', text: words }] } });
const option = { configId: 'reasoning_effort', value: 'low' };

afterAll(endFleets);

describe.each(TARGETS)('what %s asks of its agent', (_name, target) => {
  let server: Server;
  let ask: Examiner;

  beforeAll(async () => {
    const scratch = new Scratch(2);
    const services = join(scratch.dir, 'services.mjs');
    writeFileSync(services, SERVICES);
    const stub = stubAgent('--ext', '--load', '--memory', scratch.dir);
    const agent = stub.replace(/^node /, `node --import ${services} `);
    server = await target.start({ agent, scratch });
    ask = new Examiner(server.baseUrl);
  });

  const fresh = async () => `/session/${(await newSession(server.baseUrl)).sessionId}`;

  /** Runs a turn to its end. */
  async function turn(at: string, words: string): Promise<void> {
    const { json } = await ask.expect(202, 'POST', `${at}/prompt`, text(words));
    const headers = { 'last-event-id': String(json.lastEventId) };
    const stream = await ask.stream(at.replace('/session/', ''), { headers });
    await stream.settled(String(json.promptId));
    stream.close();
  }

  test('is read', async () => {
    const at = await fresh();
    for (const read of [...READS, ...FIGURES]) await ask.expect(200, 'GET', `${at}/${read}`);
    await ask.expect(200, 'GET', `${at}/context-usage?detail=true`);
    await turn(at, 'next:qwen/status/session/context:{"error":{"code":-32000,"message":"no"}}');
    await ask.expect([500, -32000], 'GET', `${at}/context`);
  });

  test('is done', async () => {
    const at = await fresh();
    await ask.expect(200, 'POST', `${at}/model`, { json: { modelId: 'm2' } });
    await ask.expect(200, 'POST', `${at}/approval-mode`, { json: { mode: 'yolo', persist: true } });
    const { json: planned } = await ask.expect(200, 'POST', `${at}/approval-mode`, {
      json: { mode: 'auto-edit', planMode: true },
    });
    expect(planned).toMatchObject({ mode: 'plan', planExecutionMode: 'auto-edit' });
    await ask.expect(200, 'POST', `${at}/config-option`, { json: option });
    await ask.expect(200, 'POST', `${at}/language`, { json: { language: 'de' } });
    await ask.expect(200, 'POST', `${at}/recap`);
    await ask.expect(200, 'POST', `${at}/btw`, { json: { question: 'why?' } });
    await ask.expect(200, 'POST', `${at}/rewind`, { json: { promptId: 'p' } });
  });

  test('is gone on with, in the session or in a fork', async () => {
    const at = await fresh();
    await turn(at, 'hello');
    const { json: fork } = await ask.expect(201, 'POST', `${at}/branch`, { json: { name: 'a fork' } });
    expect(fork).toMatchObject({ displayName: 'a fork', forkedFrom: { sessionId: at.slice(9) } });
    await ask.expect(200, 'GET', `/session/${fork.sessionId}/status`);
    const { json } = await ask.expect(200, 'POST', `${at}/continue`);
    expect(json).toMatchObject({ accepted: true, promptId: expect.any(String) });
  });

  test('is refused while a prompt runs', async () => {
    const at = await fresh();
    await ask.expect(202, 'POST', `${at}/prompt`, text('hang'));
    await ask.expect([409, 'session_busy'], 'POST', `${at}/rewind`, { json: { promptId: 'p' } });
    await ask.expect([409, 'session_busy'], 'POST', `${at}/branch`);
    const { json } = await ask.expect(200, 'POST', `${at}/continue`);
    expect(json).toEqual({ accepted: false });
    await ask.expect(204, 'POST', `${at}/cancel`);
  });

  test('is refused where it is malformed', async () => {
    const at = await fresh();
    const refusals: readonly (readonly [string, string | undefined, unknown])[] = [
      ['model', undefined, {}],
      ['approval-mode', 'invalid_approval_mode', { mode: 'x' }],
      ['approval-mode', 'invalid_persist_flag', { mode: 'yolo', persist: 1 }],
      ['approval-mode', 'invalid_plan_mode', { mode: 'plan', planMode: true }],
      ['config-option', undefined, { configId: 'x', value: 'x' }],
      ['config-option', undefined, { ...option, value: '' }],
      ['config-option', undefined, { ...option, persist: 1 }],
      ['language', undefined, { language: 'x'.repeat(65) }],
      ['btw', undefined, { question: ' ' }],
      ['rewind', undefined, {}],
      ['branch', undefined, { atRecordId: 1 }],
    ];
    for (const [name, code, json] of refusals)
      await ask.expect([400, code], 'POST', `${at}/${name}`, { json });
  });

  test.each([
    ['approval-mode', 'trust_gate', 403],
    ['approval-mode', 'session_busy', 409],
    ['model', 'stub', 500],
  ])('is refused by the agent: %s, %s', async (name, errorKind, status) => {
    const at = await fresh();
    const method = name === 'model' ? 'session/set_model' : 'qwen/control/session/approval_mode';
    const error = JSON.stringify({ error: { code: -32000, message: 'no', data: { errorKind } } });
    await turn(at, `next:${method}:${error}`);
    const code = status === 500 ? -32000 : errorKind;
    await ask.expect([status, code], 'POST', `${at}/${name}`, { json: { mode: 'yolo', modelId: 'm1' } });
  });

  test.each([
    ['trust_gate', 403, 'trust_gate'],
    ['session_busy', 409, 'session_busy'],
    ['stub', 500, -32000],
  ])('refuses the mode of one who attaches: %s', async (errorKind, status, code) => {
    const { sessionId } = await createSession(ask.base);
    const at = `/session/${sessionId}`;
    const error = JSON.stringify({ error: { code: -32000, message: 'no', data: { errorKind } } });
    for (const path of ['/session', `${at}/load`, `${at}/resume`]) {
      await turn(at, `next:qwen/control/session/approval_mode:${error}`);
      await ask.expect([status, code], 'POST', path, { json: { approvalMode: 'yolo' } });
    }
  });

  test('has covered every operation', () => {
    expect(ask.missing('agent', target.isFleet)).toEqual([]);
  });

  test('is not offered by an agent without services', async () => {
    const plain = await target.start();
    const bare = new Examiner(plain.baseUrl);
    const at = `/session/${(await newSession(plain.baseUrl)).sessionId}`;
    for (const read of [...READS, ...FIGURES]) await bare.expect(200, 'GET', `${at}/${read}`);
    const json = { ...option, language: 'de', question: 'why?', promptId: 'p' };
    for (const service of ['config-option', 'language', 'recap', 'btw', 'rewind', 'branch', 'continue'])
      await bare.expect([501, 'not_implemented'], 'POST', `${at}/${service}`, { json });
    await bare.expect(204, 'DELETE', at);
    for (const how of ['load', 'resume']) await bare.expect([501, 'not_implemented'], 'POST', `${at}/${how}`);
  });
});
