// Models, modes and what only the agent can answer (protocol 2.7, 2.14, 3.2, 4.4 and 7.1 to 7.4).
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { EventEnvelope } from '../../../daemon/contract/wire.ts';
import { endFleets, type Server, stubAgent } from '../../support/fleet-process.ts';
import { openStream, type SseStream, streamFrom } from '../../support/sse-stream.ts';
import { TARGETS } from '../../support/targets.ts';
import { call, clientHeader, createSession, newSession, sendPrompt } from '../../support/wire-client.ts';

afterAll(endFleets);

const SET_MODEL = 'session/set_model';
const SET_MODE = 'qwen/control/session/approval_mode';
const CONTEXT = 'qwen/status/session/context';
const SIDE_EVENTS = ['model_switched', 'model_switch_failed', 'approval_mode_changed', 'settings_changed'];

/** Every event of the two axes as `type:value[:client]`, and older clients' mode frames as `frame:<mode>`. */
function storyOf(stream: SseStream): string[] {
  return stream.envelopes.flatMap(({ type, data, originatorClientId }: EventEnvelope) => {
    const { modelId, requestedModelId, next, value, update } = data as Record<string, unknown>;
    const { sessionUpdate, currentModeId } = (update ?? {}) as Record<string, unknown>;
    if (sessionUpdate === 'current_mode_update') return [`frame:${currentModeId}`];
    if (!SIDE_EVENTS.includes(type)) return [];
    const client = originatorClientId === undefined ? [] : [originatorClientId];
    return [[type, modelId ?? requestedModelId ?? next ?? value, ...client].join(':')];
  });
}

describe.each(TARGETS)('%s', (_name, target) => {
  let server: Server;
  let base: string;
  const post = (id: string, action: string, json: unknown, clientId?: string) =>
    call(base, 'POST', `/session/${id}/${action}`, { json, headers: clientHeader(clientId) });
  const get = async (id: string, what: string) => (await call(base, 'GET', `/session/${id}/${what}`)).json;
  const say = async (id: string, stream: SseStream, text: string, clientId?: string) => {
    const { promptId } = await sendPrompt(base, id, text, clientId);
    await stream.settled(promptId);
  };
  const snapshotOf = async (id: string) => {
    const stream = await openStream(base, id, { query: '?snapshot=1' });
    const { data } = await stream.event('session_snapshot');
    stream.close();
    return data;
  };
  const fresh = async () => {
    const { sessionId, clientId } = await newSession(base);
    return { id: sessionId, clientId, stream: await openStream(base, sessionId) };
  };

  beforeAll(async () => {
    server = await target.start({
      agent: stubAgent('--ext'),
      flags: ['--initialize-timeout-ms', '2000', '--context-read-timeout-ms', '300', '--max-sessions', '0'],
    });
    base = server.baseUrl;
  });

  test('the snapshot of an attaching client knows what the agent said at the start', async () => {
    const { id } = await fresh();
    expect(await snapshotOf(id)).toEqual({
      sessionId: id,
      currentModelId: 'm1',
      currentApprovalMode: 'default',
      recordingDegraded: false,
    });
  });

  test('a switch is told once on its session with its client, and as a default on every other', async () => {
    const other = await fresh();
    const { id, clientId, stream } = await fresh();
    expect((await post(id, 'model', { modelId: 'm2' }, clientId)).json).toEqual({});
    await say(id, stream, 'after');
    expect(storyOf(stream)).toEqual([`model_switched:m2:${clientId}`, `settings_changed:m2:${clientId}`]);
    expect(storyOf(other.stream)).toEqual([`settings_changed:m2:${clientId}`]);
    expect(await snapshotOf(id)).toMatchObject({ currentModelId: 'm2' });
    expect(await get(id, 'context')).toMatchObject({ v: 1, state: { models: { currentModelId: 'm2' } } });
  });

  test('a switch that fails after it has landed is failed first, then corrected without a client', async () => {
    const { id, clientId, stream } = await fresh();
    await say(id, stream, `next:${SET_MODEL}:{"error":{"code":-32603,"message":"Internal error"}}`);
    const answer = await post(id, 'model', { modelId: 'm2' }, clientId);
    expect([answer.status, answer.json.code]).toEqual([500, -32603]);
    await stream.event('model_switched');
    expect(storyOf(stream)).toEqual([`model_switch_failed:m2:${clientId}`, 'model_switched:m2']);
  });

  test('a switch that times out is 504, and is told when it lands after all', async () => {
    const { id, clientId, stream } = await fresh();
    await say(id, stream, `next:${SET_MODEL}:{"delayMs":3500}`);
    const answer = await post(id, 'model', { modelId: 'm2' }, clientId);
    expect([answer.status, answer.json.code]).toEqual([504, 'init_timeout']);
    expect(await snapshotOf(id)).toMatchObject({ currentModelId: 'm1' });
    await stream.event('model_switched');
    expect(storyOf(stream)).toEqual([`model_switch_failed:m2:${clientId}`, 'model_switched:m2']);
    await say(id, stream, 'after');
    expect(storyOf(stream)).toHaveLength(2);
  });

  test('a mode that times out is told from its late answer, of which the agent notifies nobody', async () => {
    const { id, stream } = await fresh();
    await say(id, stream, `next:${SET_MODE}:{"delayMs":2500}`);
    expect((await post(id, 'approval-mode', { mode: 'yolo' })).status).toBe(504);
    await stream.event('approval_mode_changed');
    expect(storyOf(stream)).toEqual(['frame:yolo', 'approval_mode_changed:yolo']);
  });

  test('a read that hangs holds up nobody', async () => {
    const { id, stream } = await fresh();
    await say(id, stream, `next:${CONTEXT}:{"delayMs":1000}`);
    expect((await post(id, 'model', { modelId: 'm2' })).status).toBe(200);
    expect((await post(id, 'model', { modelId: 'm1' })).status).toBe(200);
    expect(await snapshotOf(id)).toMatchObject({ currentModelId: 'm1' });
  });

  test('what the agent changes in a turn is told for the client of the turn, the mode to older clients once', async () => {
    const { id, clientId, stream } = await fresh();
    await say(id, stream, 'model:m2 ; mode:plan', clientId);
    expect(storyOf(stream)).toEqual([
      `model_switched:m2:${clientId}`,
      'frame:plan',
      `approval_mode_changed:plan:${clientId}`,
    ]);
  });

  test('what a command changes without a word is found out after its turn', async () => {
    const { id, stream } = await fresh();
    await say(id, stream, 'quiet-model:m2');
    await stream.event('model_switched');
    expect(storyOf(stream)).toEqual(['model_switched:m2']);
  });

  test('values that no client knows are told to nobody', async () => {
    const { id, stream } = await fresh();
    const notify = (what: string, params: string) => `notify:qwen/notify/session/${what}:${params}`;
    await say(id, stream, notify('mode-update', '{"currentModeId":"architect"}'));
    await say(id, stream, notify('model-update', '{"currentModelId":7}'));
    expect(storyOf(stream)).toEqual([]);
    await say(
      id,
      stream,
      `next:${SET_MODE}:{"answer":{"previous":"default","current":"architect"},"lands":false}`,
    );
    expect((await post(id, 'approval-mode', { mode: 'plan' })).status).toBe(500);
    expect(storyOf(stream)).toEqual([]);
    expect(await snapshotOf(id)).toMatchObject({ currentModelId: 'm1', currentApprovalMode: 'default' });
  });

  test('a mode is answered with the one before it, and plans name what they are carried out in', async () => {
    const { id, stream } = await fresh();
    const answer = await post(id, 'approval-mode', { mode: 'yolo', planMode: true });
    expect(answer.json).toEqual({
      sessionId: id,
      mode: 'plan',
      previous: 'default',
      persisted: false,
      planExecutionMode: 'yolo',
    });
    expect((await stream.event('approval_mode_changed')).data).toEqual({
      sessionId: id,
      previous: 'default',
      next: 'plan',
      persisted: false,
      planExecutionMode: 'yolo',
    });
    expect(await snapshotOf(id)).toMatchObject({ currentApprovalMode: 'plan', planExecutionMode: 'yolo' });
  });

  test('a persisted mode reaches the caches and streams of the other sessions', async () => {
    const other = await fresh();
    const { id } = await fresh();
    expect((await post(id, 'approval-mode', { mode: 'auto-edit', persist: true })).json).toMatchObject({
      persisted: true,
    });
    const told = await other.stream.event('approval_mode_changed');
    expect(told.data).toMatchObject({ sessionId: other.id, next: 'auto-edit', persisted: true });
    expect(await snapshotOf(other.id)).toMatchObject({ currentApprovalMode: 'auto-edit' });
    expect(await get(other.id, 'context')).toMatchObject({
      state: { modes: { currentModeId: 'auto-edit' } },
    });
  });

  test.each([
    [{}, 'invalid_approval_mode'],
    [{ mode: 'architect' }, 'invalid_approval_mode'],
    [{ mode: 'yolo', persist: 'yes' }, 'invalid_persist_flag'],
    [{ mode: 'yolo', planMode: 1 }, 'invalid_plan_mode'],
    [{ mode: 'plan', planMode: true }, 'invalid_plan_mode'],
  ])('the mode request %j is 400 %s', async (body, code) => {
    const { id } = await fresh();
    const { status, json } = await post(id, 'approval-mode', body);
    expect([status, json.code]).toEqual([400, code]);
    if (code === 'invalid_approval_mode')
      expect(json.allowed).toEqual(expect.arrayContaining(['plan', 'yolo']));
  });

  test('a mode that the trust of the workspace forbids is 403 trust_gate', async () => {
    const { id, stream } = await fresh();
    const error = '{"code":-32003,"message":"not trusted","data":{"errorKind":"trust_gate"}}';
    await say(id, stream, `next:${SET_MODE}:{"lands":false,"error":${error}}`);
    const { status, json } = await post(id, 'approval-mode', { mode: 'yolo' });
    expect([status, json.code, json.error]).toEqual([403, 'trust_gate', 'not trusted']);
  });

  test.each([
    ['an attach', (_id: string) => '/session'],
    ['a load', (id: string) => `/session/${id}/load`],
    ['a resume', (id: string) => `/session/${id}/resume`],
  ])('%s whose mode is forbidden is 403 trust_gate, and leaves no client behind', async (_how, pathOf) => {
    const { sessionId: id } = await createSession(base);
    const stream = await openStream(base, id);
    const before = await get(id, 'status');
    const error = '{"code":-32003,"message":"not trusted","data":{"errorKind":"trust_gate"}}';
    await say(id, stream, `next:${SET_MODE}:{"lands":false,"error":${error}}`);
    const { status, json } = await call(base, 'POST', pathOf(id), { json: { approvalMode: 'yolo' } });
    expect([status, json.code, json.error]).toEqual([403, 'trust_gate', 'not trusted']);
    expect((await get(id, 'status')).clientCount).toBe(before.clientCount);
    expect(storyOf(stream)).toEqual([]);
  });

  test('an attach that asks for a model switches the shared session for the one who attached', async () => {
    const first = await createSession(base);
    const stream = await openStream(base, first.sessionId);
    const second = await createSession(base, { modelServiceId: 'm2' });
    expect(second).toMatchObject({ sessionId: first.sessionId, attached: true });
    await stream.event('model_switched');
    expect(storyOf(stream)[0]).toBe(`model_switched:m2:${second.clientId}`);
    expect(second).not.toHaveProperty('modelApplied');
  });

  test.each([[{}], [{ modelId: '' }], [{ modelId: 7 }]])(
    'the model request %j is 400 without a code',
    async (body) => {
      const { id, stream } = await fresh();
      const { status, json } = await post(id, 'model', body);
      expect([status, json.code]).toEqual([400, undefined]);
      expect(storyOf(stream)).toEqual([]);
    },
  );

  describe.each([
    ['stats', {}],
    ['tasks', { tasks: [] }],
    ['agents', { tasks: [] }],
    ['lsp', { servers: [] }],
    ['hooks', { hooks: [] }],
    ['resources', { resources: [] }],
    ['context-usage', { usage: null }],
    ['supported-commands', { availableCommands: [], availableSkills: [] }],
  ])('GET %s', (what, empty) => {
    test('of an agent without it is an idle body that says so', async () => {
      const { id } = await fresh();
      expect(await get(id, what)).toMatchObject({
        v: 1,
        sessionId: id,
        ...empty,
        errors: [{ kind: what.replace('-', '_'), status: 'unknown', hint: expect.any(String) }],
      });
    });

    test('of an unknown session is 404', async () => {
      const answer = await call(base, 'GET', `/session/nobody/${what}`);
      expect([answer.status, answer.json.code]).toEqual([404, 'session_not_found']);
    });
  });

  test('commands are those that the agent announced, where it has no read of them', async () => {
    const { id, stream } = await fresh();
    const commands = [{ name: 'help', description: 'helps', input: null }];
    const update = { sessionUpdate: 'available_commands_update', availableCommands: commands };
    await say(id, stream, `update:${JSON.stringify(update)}`);
    const body = await get(id, 'supported-commands');
    expect(body).toEqual(expect.objectContaining({ availableCommands: commands }));
    expect(body).not.toHaveProperty('errors');
  });

  test.each([
    ['recap', {}],
    ['btw', { question: 'why?' }],
    ['language', { language: 'de' }],
    ['continue', {}],
    ['rewind', { promptId: 'p' }],
    ['config-option', { configId: 'reasoning_effort', value: 'high' }],
  ])('POST %s to an agent without it is 501 not_implemented', async (action, body) => {
    const { id, stream } = await fresh();
    const { status, json } = await post(id, action, body);
    expect([status, json.code]).toEqual([501, 'not_implemented']);
    await say(id, stream, 'after');
    expect(stream.types).not.toContain('language_changed');
    expect(stream.types).not.toContain('session_rewound');
  });

  test.each([
    ['btw', {}],
    ['btw', { question: '  ' }],
    ['language', { language: '' }],
    ['language', { language: 'de', syncOutputLanguage: 'yes' }],
    ['rewind', {}],
    ['rewind', { promptId: 'p', rewindFiles: 1 }],
    ['config-option', { configId: 'mode', value: 'yolo' }],
    ['config-option', { configId: 'reasoning_effort', value: '' }],
  ])('POST %s with %j is 400', async (action, body) => {
    const { id } = await fresh();
    expect((await post(id, action, body)).status).toBe(400);
  });

  test('a side question longer than the agent takes is 400', async () => {
    const { id } = await fresh();
    expect((await post(id, 'btw', { question: 'x'.repeat(4097) })).status).toBe(400);
  });

  test('a foreign client changes nothing', async () => {
    const { id, stream } = await fresh();
    const stranger = 'client_somebody-else';
    for (const [action, body] of [
      ['model', { modelId: 'm2' }],
      ['approval-mode', { mode: 'yolo' }],
      ['language', { language: 'de' }],
      ['rewind', { promptId: 'p' }],
    ] as const) {
      const { status, json } = await post(id, action, body, stranger);
      expect([status, json.code]).toEqual([400, 'invalid_client_id']);
    }
    expect(storyOf(stream)).toEqual([]);
  });
});

describe.each(TARGETS)('%s with an agent that is slow for one session', (_name, target) => {
  test('a persisted mode is answered without it, and the others follow', async () => {
    const { baseUrl } = await target.start({
      agent: stubAgent('--ext'),
      flags: ['--initialize-timeout-ms', '600000'],
    });
    const [one, slow, other] = [
      await newSession(baseUrl),
      await newSession(baseUrl),
      await newSession(baseUrl),
    ];
    const stream = await openStream(baseUrl, other.sessionId);
    const admission = await sendPrompt(baseUrl, slow.sessionId, `next:${SET_MODE}:{"delayMs":600000}`);
    await (await streamFrom(baseUrl, slow.sessionId, admission)).settled(admission.promptId);
    const answer = await call(baseUrl, 'POST', `/session/${one.sessionId}/approval-mode`, {
      json: { mode: 'yolo', persist: true },
    });
    expect([answer.status, answer.json.persisted]).toEqual([200, true]);
    expect((await stream.event('approval_mode_changed')).data).toMatchObject({
      next: 'yolo',
      persisted: true,
    });
  });
});

describe.each(TARGETS)('%s with a standard agent', (_name, target) => {
  test('modes are set by the standard call, and the context is what is known', async () => {
    const { baseUrl } = await target.start();
    const { sessionId } = await newSession(baseUrl);
    const stream = await openStream(baseUrl, sessionId);
    const post = (action: string, json: unknown) =>
      call(baseUrl, 'POST', `/session/${sessionId}/${action}`, { json });
    expect((await post('approval-mode', { mode: 'yolo', persist: true })).json).toEqual({
      sessionId,
      mode: 'yolo',
      previous: 'default',
      persisted: false,
    });
    await post('model', { modelId: 'm2' });
    expect((await post('approval-mode', { mode: 'yolo', planMode: true })).status).toBe(501);
    expect((await call(baseUrl, 'GET', `/session/${sessionId}/context`)).json).toMatchObject({
      v: 1,
      sessionId,
      state: {
        models: { currentModelId: 'm2', availableModels: [{ modelId: 'm1' }, { modelId: 'm2' }] },
        modes: { currentModeId: 'yolo' },
        configOptions: [],
      },
    });
    expect(storyOf(stream).slice(0, 3)).toEqual([
      'frame:yolo',
      'approval_mode_changed:yolo',
      'model_switched:m2',
    ]);
  });
});
