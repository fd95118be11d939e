// POST /session: scopes, the one default slot, caps, chosen ids and client ids (protocol 1.4 and 2.3).
import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { eventually } from '../../support/eventually.ts';
import { endFleets, type Server, stubAgent } from '../../support/fleet-process.ts';
import { TARGETS } from '../../support/targets.ts';
import { call, clientHeader, createSession, newSession } from '../../support/wire-client.ts';

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[1-5][0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;

afterAll(endFleets);

async function sessionIds(server: Server): Promise<string[]> {
  const path = `/workspace/${encodeURIComponent(server.workspace)}/sessions?size=100`;
  const { json } = await call(server.baseUrl, 'GET', path);
  return (json.sessions as readonly { readonly sessionId: string }[]).map(({ sessionId }) => sessionId);
}

async function closeAll(server: Server): Promise<void> {
  for (const id of await sessionIds(server)) await call(server.baseUrl, 'DELETE', `/session/${id}`);
  await eventually('no session', async () => (await sessionIds(server)).length === 0);
}

describe.each(TARGETS)('%s', (_name, target) => {
  let server: Server;
  let base: string;
  const create = (json: unknown, headers = {}) => call(base, 'POST', '/session', { json, headers });
  const close = (id: string) => call(base, 'DELETE', `/session/${id}`);

  beforeAll(async () => {
    server = await target.start();
    base = server.baseUrl;
  });
  beforeEach(() => closeAll(server));

  test('a fresh session has the protocol’s fields', async () => {
    const { status, json } = await create({});
    expect(status).toBe(200);
    expect(json).toEqual({
      sessionId: expect.any(String),
      workspaceCwd: server.workspace,
      attached: false,
      clientId: expect.stringMatching(/^client_[0-9a-f-]{36}$/),
      createdAt: expect.stringMatching(/^\d{4}-\d\d-\d\dT[\d:.]+Z$/),
    });
  });

  test('an attach also says what goes on in the session', async () => {
    await create({});
    const { json } = await create({});
    expect(json).toMatchObject({ attached: true, hasActivePrompt: false, hasRunningBackgroundTasks: false });
  });

  test('concurrent single creates share one spawn: the first is fresh, the others attach', async () => {
    const answers = await Promise.all(Array.from({ length: 8 }, () => create({ sessionScope: 'single' })));
    expect(answers.map(({ status }) => status)).toEqual(answers.map(() => 200));
    expect(new Set(answers.map(({ json }) => json.sessionId)).size).toBe(1);
    expect(answers.filter(({ json }) => json.attached === false)).toHaveLength(1);
    expect(new Set(answers.map(({ json }) => json.clientId)).size).toBe(8);
  });

  test('a thread is always fresh and never fills the slot, not even as the first session', async () => {
    const thread = await createSession(base, { sessionScope: 'thread' });
    const single = await createSession(base, { sessionScope: 'single' });
    const other = await createSession(base, { sessionScope: 'thread' });
    expect([thread.attached, single.attached, other.attached]).toEqual([false, false, false]);
    expect(new Set([thread, single, other].map(({ sessionId }) => sessionId)).size).toBe(3);
    expect((await createSession(base)).sessionId).toBe(single.sessionId);
  });

  test('concurrent single and thread creates do not share a spawn', async () => {
    const scopes = ['single', 'thread', 'single', 'thread'];
    const made = await Promise.all(scopes.map((sessionScope) => createSession(base, { sessionScope })));
    const [firstSingle, firstThread, secondSingle, secondThread] = made.map(({ sessionId }) => sessionId);
    expect(firstSingle).toBe(secondSingle);
    expect(new Set([firstSingle, firstThread, secondThread]).size).toBe(3);
    expect(made.filter(({ attached }) => attached)).toHaveLength(1);
  });

  test('the slot empties with its session, and the next single create is fresh', async () => {
    const first = await createSession(base);
    await close(first.sessionId);
    const second = await createSession(base);
    expect(second).toMatchObject({ attached: false });
    expect(second.sessionId).not.toBe(first.sessionId);
  });

  test.each([[{ sessionScope: 'both' }], [{ sessionScope: 1 }], [{ sessionScope: '' }]])(
    'another scope is 400 invalid_session_scope: %j',
    async (body) => {
      const { status, json } = await create(body);
      expect([status, json.code]).toEqual([400, 'invalid_session_scope']);
    },
  );

  test('another approval mode is 400 with the allowed ones', async () => {
    const { status, json } = await create({ approvalMode: 'maybe' });
    expect([status, json.code]).toEqual([400, 'invalid_approval_mode']);
    expect(json.allowed).toEqual(['plan', 'default', 'auto-edit', 'auto', 'yolo']);
  });

  test.each([
    [{ sourceType: 'Upper' }],
    [{ sourceType: '1st' }],
    [{ sourceType: 'x'.repeat(65) }],
    [{ sourceType: 'standalone' }],
    [{ sourceType: 'ci', sourceId: '' }],
    [{ sourceType: 'ci', sourceId: 'a\nb' }],
    [{ sourceType: 'ci', sourceId: 'x'.repeat(257) }],
    [{ sourceId: '7' }],
  ])('a malformed source is 400 invalid_session_source: %j', async (body) => {
    const { status, json } = await create(body);
    expect([status, json.code]).toEqual([400, 'invalid_session_source']);
  });

  test('the source of a session comes back', async () => {
    const { json } = await create({ sourceType: 'ci-job', sourceId: 'run 17' });
    expect(json).toMatchObject({ sourceType: 'ci-job', sourceId: 'run 17' });
  });

  test('worktree and branch exclude each other', async () => {
    const { status, json } = await create({ worktree: {}, branch: { name: 'x' } });
    expect([status, json.code]).toEqual([400, 'branch_and_worktree_conflict']);
  });

  test('a model that was asked for is reported as applied, on a fresh session only', async () => {
    expect((await create({ modelServiceId: 'm2' })).json.modelApplied).toBe(true);
    expect((await create({ modelServiceId: 'm1' })).json.modelApplied).toBeUndefined();
  });

  test.each([['not-a-uuid'], [''], [17], ['00000000-0000-0000-0000-000000000000'], [`${randomUUID()}x`]])(
    'a chosen id that is no UUID is 400 invalid_session_id: %j',
    async (sessionId) => {
      const { status, json } = await create({ sessionId });
      expect([status, json.code]).toEqual([400, 'invalid_session_id']);
    },
  );

  test('a chosen id is kept in lower case, and makes the session a thread', async () => {
    const chosen = randomUUID();
    const { json } = await create({ sessionId: chosen.toUpperCase(), sessionScope: 'single' });
    expect(json).toMatchObject({ sessionId: chosen, attached: false });
    expect((await createSession(base)).sessionId).not.toBe(chosen);
  });

  test('a chosen id that is live is 409 naming where', async () => {
    const chosen = randomUUID();
    await create({ sessionId: chosen });
    for (const sessionId of [chosen, chosen.toUpperCase()]) {
      const { status, json } = await create({ sessionId });
      expect(status).toBe(409);
      expect(json).toMatchObject({
        code: 'session_id_conflict',
        sessionId: chosen,
        conflict: 'live',
        liveWorkspaceCwd: server.workspace,
      });
    }
  });

  test('of concurrent creates with one chosen id exactly one succeeds', async () => {
    const sessionId = randomUUID();
    const answers = await Promise.all(Array.from({ length: 5 }, () => create({ sessionId })));
    const statuses = answers.map(({ status }) => status).sort();
    expect(statuses).toEqual([200, 409, 409, 409, 409]);
  });

  test('a chosen id is free again after its session was closed', async () => {
    const sessionId = randomUUID();
    await create({ sessionId });
    await close(sessionId);
    expect((await create({ sessionId })).json).toMatchObject({ sessionId, attached: false });
  });

  test('a malformed client id is 400 before anything is created', async () => {
    for (const clientId of ['no blanks', 'ümlaut', 'x'.repeat(129), 'a/b']) {
      const headers = { 'x-qwen-client-id': Buffer.from(clientId).toString('latin1') };
      const { status, json } = await create({ sessionScope: 'thread' }, headers);
      expect([status, json.code]).toEqual([400, 'invalid_client_id']);
    }
    expect(await sessionIds(server)).toEqual([]);
  });

  test('an offered client id is kept where the session knows it, and replaced where it does not', async () => {
    const first = await createSession(base);
    const known = await create({}, clientHeader(first.clientId));
    expect(known.json.clientId).toBe(first.clientId);
    const unknown = await create({}, clientHeader('client_of_another'));
    expect(unknown.json.clientId).toMatch(/^client_/);
    expect(unknown.json.clientId).not.toBe('client_of_another');
    const { json } = await call(base, 'GET', `/session/${first.sessionId}/status`);
    expect(json.clientCount).toBe(2);
  });

  test('an empty client id is anonymous', async () => {
    expect((await create({}, { 'x-qwen-client-id': '' })).status).toBe(200);
  });

  test('a session id of the agent’s is unique and its own', async () => {
    const ids = await Promise.all(Array.from({ length: 6 }, () => newSession(base)));
    expect(new Set(ids.map(({ sessionId }) => sessionId)).size).toBe(6);
    for (const { sessionId } of ids) expect(sessionId).toMatch(UUID);
  });

  test('a caller that leaves before the answer leaves no session behind', async () => {
    const abort = new AbortController();
    const gone = call(base, 'POST', '/session', {
      json: { sessionScope: 'thread' },
      signal: abort.signal,
    }).catch(() => 'gone');
    setImmediate(() => abort.abort());
    expect(await gone).toBe('gone');
    // Whether the request had arrived or not, a later create finds no trace of it.
    const { sessionId } = await newSession(base);
    await eventually('only the later session', async () => {
      const ids = await sessionIds(server);
      return ids.length === 1 && ids[0] === sessionId;
    });
  });
});

describe.each(TARGETS)('%s with room for three sessions', (_name, target) => {
  let server: Server;
  const create = (json: unknown) => call(server.baseUrl, 'POST', '/session', { json });

  beforeAll(async () => {
    server = await target.start({ flags: ['--max-sessions', '3'] });
  });
  beforeEach(() => closeAll(server));

  function fill(): Promise<unknown> {
    return Promise.all([
      createSession(server.baseUrl),
      newSession(server.baseUrl),
      newSession(server.baseUrl),
    ]);
  }

  test.each([
    ['a thread', { sessionScope: 'thread' }],
    ['a chosen id', { sessionId: randomUUID() }],
  ])('%s over the cap is 503 with the limit and Retry-After', async (_case, body) => {
    await fill();
    const { status, json, headers } = await create(body);
    expect(status).toBe(503);
    expect(json).toMatchObject({ code: 'session_limit_exceeded', limit: 3, scope: 'workspace' });
    expect(headers['retry-after']).toBe('5');
  });

  test('a single create over the cap is refused like any other', async () => {
    await Promise.all([1, 2, 3].map(() => newSession(server.baseUrl)));
    expect((await create({})).json.code).toBe('session_limit_exceeded');
  });

  test('an attach never counts', async () => {
    await fill();
    for (let index = 0; index < 4; index += 1)
      expect((await create({})).json).toMatchObject({ attached: true });
  });

  test('spawns under way count: of many concurrent creates three succeed', async () => {
    const answers = await Promise.all(Array.from({ length: 8 }, () => create({ sessionScope: 'thread' })));
    const count = (status: number) => answers.filter((answer) => answer.status === status).length;
    expect([count(200), count(503)]).toEqual([3, 5]);
  });

  test('a place is free again after a close', async () => {
    await fill();
    const [id] = await sessionIds(server);
    await call(server.baseUrl, 'DELETE', `/session/${id}`);
    expect((await create({ sessionScope: 'thread' })).status).toBe(200);
  });
});

describe.each(TARGETS)('%s with an agent that fails', (_name, target) => {
  test('an agent that cannot be found is 503 with what is missing', async () => {
    const { baseUrl } = await target.start({ agent: 'no-such-agent-program --acp' });
    const { status, json } = await call(baseUrl, 'POST', '/session', { json: {} });
    expect(status).toBe(503);
    expect(json).toMatchObject({ code: 'acp_channel_unavailable', errorKind: 'missing_binary' });
    expect(json.error).toContain('no-such-agent-program');
  });

  test('an agent that ends in its handshake is 503 with its last words', async () => {
    const { baseUrl } = await target.start({ agent: stubAgent('--exit-on-init', '9') });
    const { status, json } = await call(baseUrl, 'POST', '/session', { json: {} });
    expect(status).toBe(503);
    expect(json).toMatchObject({ exitCode: 9, lastLines: ['cannot go on'] });
  });

  test('an agent that is silent in its handshake is 504 init_timeout', async () => {
    const flags = ['--initialize-timeout-ms', '300'];
    const { baseUrl } = await target.start({ agent: stubAgent('--silent-init'), flags });
    const { status, json } = await call(baseUrl, 'POST', '/session', { json: {} });
    expect(status).toBe(504);
    expect(json).toMatchObject({
      code: 'init_timeout',
      errorKind: 'init_timeout',
      phase: 'channel.initialize',
      timeoutMs: 300,
    });
  });

  test('an agent’s refusal of session/new is 500 with its numeric code and data', async () => {
    const { baseUrl } = await target.start({ agent: stubAgent('--no-new') });
    const { status, json } = await call(baseUrl, 'POST', '/session', { json: {} });
    expect(status).toBe(500);
    expect(json).toEqual({ error: 'no new sessions', code: -32603, data: { errorKind: 'stub' } });
  });
});
