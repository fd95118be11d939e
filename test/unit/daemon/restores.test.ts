import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { AgentCallError } from '../../../daemon/agent/agent.ts';
import { parseCreateRequest } from '../../../daemon/domain/create-request.ts';
import type { RestoreAction } from '../../../daemon/restore/intent.ts';
import type { Restored } from '../../../daemon/restore/restores.ts';
import { settled } from '../../support/manual-clock.ts';
import { chunk, RestoreWorld } from '../../support/restore-world.ts';
import { eventsOf } from '../../support/session-parts.ts';

const METHODS = { load: 'session/load', resume: 'session/resume' } as const;

function codeOf(error: unknown): unknown {
  const { status, code, context } = error as { status: number; code: string; context: object };
  return { status, code, ...context };
}

const refusal = (promise: Promise<unknown>) => promise.then(() => 'no refusal', codeOf);

let world: RestoreWorld;
beforeEach(() => {
  world = new RestoreWorld();
});
afterEach(() => world.end());

describe('two who want one session back', () => {
  beforeEach(() => {
    world.isLoadAnswered = false;
  });

  const answerAgent = async (method: string = METHODS.load) => {
    await settled();
    world.channel.next(method).answer({});
  };

  test.each<[RestoreAction, RestoreAction]>([
    ['load', 'load'],
    ['load', 'resume'],
  ])('share one call: a %s and a %s behind it', async (first, second) => {
    const both = [world.load('old', { action: first }), world.load('old', { action: second })];
    await answerAgent();
    const [one, other] = (await Promise.all(both)) as [Restored, Restored];
    expect(one).toMatchObject({ isAttached: false });
    expect(other).toMatchObject({ isAttached: true, state: {} });
    expect(other.session).toBe(one.session);
    expect(one.session.clients.size).toBe(2);
    expect(world.channel.calls.filter(({ method }) => method === METHODS.load)).toHaveLength(1);
  });

  test('do not where the second wants more than the first: a load behind a resume comes again', async () => {
    const first = world.load('old', { action: 'resume' });
    await settled();
    expect(await refusal(world.load())).toEqual({
      status: 409,
      code: 'restore_in_progress',
      sessionId: 'old',
      reason: 'restore_in_progress',
      retryable: true,
      activeAction: 'resume',
      requestedAction: 'load',
    });
    await answerAgent();
    await first;
    expect(await world.load()).toMatchObject({ isAttached: true });
  });

  test('share its failure, and the next one starts over', async () => {
    const both = [refusal(world.load()), refusal(world.load())];
    await settled();
    world.channel.next(METHODS.load).fail(new AgentCallError(-32603, 'broken'));
    expect(await Promise.all(both)).toEqual([
      { status: 500, code: -32603 },
      { status: 500, code: -32603 },
    ]);
    const again = world.load();
    await answerAgent();
    expect(await again).toMatchObject({ isAttached: false });
  });

  test('never keep the coordinator and a client apart', async () => {
    const restored = world.restore();
    const resumed = world.load('old', { action: 'resume' });
    const loaded = world.load();
    await answerAgent();
    expect(await restored).toMatchObject({ sessionId: 'old' });
    expect(await resumed).toMatchObject({ isAttached: true });
    expect(await loaded).toMatchObject({ isAttached: true });
  });

  test('are both kept from an id under which a session is being created', async () => {
    const id = '3f333df6-90a4-4fda-8dd3-9485d27cee36';
    await world.host.channel();
    world.channel.answers.delete('session/new');
    const created = world.sessions.create(parseCreateRequest({ sessionId: id }), undefined, () => false);
    await settled();
    expect(await refusal(world.load(id))).toMatchObject({
      code: 'restore_in_progress',
      activeAction: 'spawn',
      requestedAction: 'load',
    });
    world.channel.next('session/new').answer({ sessionId: id });
    await created;
    expect(await world.load(id)).toMatchObject({ isAttached: true });
  });

  test('keep a creation from their id', async () => {
    const id = '3f333df6-90a4-4fda-8dd3-9485d27cee36';
    const loading = world.load(id);
    await settled();
    const creating = world.sessions.create(parseCreateRequest({ sessionId: id }), undefined, () => false);
    expect(await refusal(creating)).toMatchObject({ status: 409, code: 'session_id_conflict' });
    await answerAgent();
    await loading;
  });
});

describe('a restore that takes too long', () => {
  beforeEach(() => {
    world.end();
    world = new RestoreWorld({ sessionRestoreTimeoutMs: 1000, channelReuseMs: 60_000 });
    world.isLoadAnswered = false;
  });

  test('is 504, and its id is not free until the agent has let go; what it opened late is closed', async () => {
    await world.sessions.create(parseCreateRequest({}), undefined, () => false);
    world.channel.answers.set('qwen/control/session/close', () => ({}));
    const late = refusal(world.load('slow'));
    await settled();
    world.clock.advance(1000);
    expect(await late).toEqual({
      status: 504,
      code: 'restore_timeout',
      sessionId: 'slow',
      errorKind: 'restore_timeout',
      retryable: true,
      phase: 'session/load',
      timeoutMs: 1000,
    });
    const fenced = await world.load('slow').catch((error) => error);
    expect(codeOf(fenced)).toMatchObject({
      code: 'restore_in_progress',
      reason: 'awaiting_abandoned_cleanup',
    });
    expect(fenced.retryAfterS).toBe(30);
    world.channel.next('session/load').answer({});
    await settled();
    expect(world.channel.calls.at(-1)).toMatchObject({
      method: 'qwen/control/session/close',
      params: { sessionId: 'slow' },
    });
    world.channel.answers.set('session/load', () => ({}));
    expect(await world.load('slow')).toMatchObject({ isAttached: false });
  });

  test.each(['live', 'starting'])('closes late no session that is %s under its id by then', async (state) => {
    const id = '3f333df6-90a4-4fda-8dd3-9485d27cee36';
    await world.sessions.create(parseCreateRequest({}), undefined, () => false);
    const late = refusal(world.load(id));
    await settled();
    world.clock.advance(1000);
    expect(await late).toMatchObject({ code: 'restore_timeout' });
    world.channel.answers.delete('session/new');
    const creating = world.sessions.create(parseCreateRequest({ sessionId: id }), undefined, () => false);
    await settled();
    const answerCreate = () => world.channel.next('session/new').answer({ sessionId: id });
    if (state === 'live') answerCreate();
    await settled();
    world.channel.next('session/load').answer({});
    await settled();
    if (state === 'starting') answerCreate();
    await creating;
    expect(world.channel.calls.map(({ method }) => method)).not.toContain('qwen/control/session/close');
    expect(await world.load(id)).toMatchObject({ isAttached: true });
  });

  test('of the coordinator is told of as a session that is late, not as a rival', async () => {
    await world.sessions.create(parseCreateRequest({}), undefined, () => false);
    const late = refusal(world.restore({ sessionId: 'slow' }));
    await settled();
    world.clock.advance(1000);
    expect(await late).toMatchObject({ status: 504, code: 'restore_timeout' });
    for (const again of [world.load('slow'), world.restore({ sessionId: 'slow' })]) {
      const fenced = await again.catch((error) => error);
      expect(codeOf(fenced)).toEqual({
        status: 503,
        code: 'workspace_runtime_unavailable',
        sessionId: 'slow',
        reason: 'awaiting_abandoned_cleanup',
        retryable: true,
        retryAfterMs: 30_000,
      });
      expect(fenced.retryAfterS).toBe(30);
    }
  });

  test('ends the child that nobody else uses', async () => {
    const late = refusal(world.load('slow'));
    await settled();
    world.clock.advance(1000);
    await late;
    await settled();
    expect(world.host.retired).toEqual([world.channel]);
  });
});

describe('what cannot be brought back', () => {
  test('is 404 where neither the agent nor we know it', async () => {
    await world.host.channel();
    for (const error of [
      new AgentCallError(-32002, 'Resource not found: nobody'),
      new AgentCallError(-32603, 'Internal error', { details: 'Session nobody not found' }),
    ]) {
      world.channel.answers.set('session/load', () => {
        throw error;
      });
      expect(await refusal(world.load('nobody'))).toEqual({
        status: 404,
        code: 'session_not_found',
        sessionId: 'nobody',
      });
    }
  });

  test('is 404 where the agent has lost it, and what we recorded of it stays', async () => {
    await world.lived('old');
    world.channel.answers.set('session/load', () => {
      throw new AgentCallError(-32002, 'Resource not found: old');
    });
    expect(await refusal(world.load())).toEqual({
      status: 404,
      code: 'session_not_found',
      sessionId: 'old',
    });
    expect((await world.ownership.history.read('old'))?.records).toHaveLength(1);
    world.channel.answers.set('session/load', () => ({}));
    expect(await world.load()).toMatchObject({ isAttached: false });
  });

  test('is 501 where we know it and the agent cannot load; 404 where nobody does', async () => {
    world.canLoad = false;
    await world.lived('old');
    expect(await refusal(world.load())).toMatchObject({ status: 501, code: 'not_implemented' });
    expect(await refusal(world.load('nobody'))).toMatchObject({ status: 404 });
  });

  test('is 409 while it is archived', async () => {
    await world.lived('old');
    world.ownership.history.setArchived('old', true);
    expect(await refusal(world.load())).toEqual({ status: 409, code: 'session_archived', sessionId: 'old' });
    world.ownership.history.setArchived('old', false);
    expect(await world.load()).toMatchObject({ isAttached: false });
  });

  test('is 503 at the cap, which an attach does not count against', async () => {
    world.end();
    world = new RestoreWorld({ maxSessions: 1 });
    await world.load('one');
    expect(await refusal(world.load('two'))).toMatchObject({
      status: 503,
      code: 'session_limit_exceeded',
      limit: 1,
    });
    expect(await world.load('one')).toMatchObject({ isAttached: true });
  });

  test('is 503 when the agent dies meanwhile', async () => {
    world.isLoadAnswered = false;
    const loading = refusal(world.load());
    await settled();
    world.channel.die();
    expect(await loading).toMatchObject({ status: 503, code: 'acp_channel_unavailable' });
  });
});

describe('a session whose id its agent writes in capitals', () => {
  const SPELLED = '3F333DF6-90A4-4FDA-8DD3-9485D27CEE36';
  const KEY = SPELLED.toLowerCase();
  const said = { ...chunk('of the past'), sessionId: SPELLED };
  const create = (body = {}) =>
    world.sessions.create(parseCreateRequest({ sessionScope: 'thread', ...body }), undefined, () => false);
  const asked = (method: string) =>
    world.channel.calls.filter((call) => call.method === method).map(({ params }) => params.sessionId);

  beforeEach(async () => {
    await world.host.channel();
    world.channel.answers.set('session/new', () => ({ sessionId: SPELLED }));
  });

  test('is found live by either spelling, and its id is taken', async () => {
    const { session } = await create();
    expect([world.sessions.find(SPELLED), world.sessions.find(KEY)]).toEqual([session, session]);
    expect(await world.load(KEY)).toMatchObject({ isAttached: true, session });
    expect(await refusal(create({ sessionId: KEY }))).toMatchObject({ code: 'session_id_conflict' });
    expect(await refusal(create())).toMatchObject({ code: 'session_id_conflict' });
    world.sessions.close(session, undefined);
    expect(world.sessions.all()).toEqual([]);
  });

  test.each<RestoreAction>(['load', 'resume'])(
    'comes back by a %s as the agent spells it',
    async (action) => {
      const { session: before } = await create();
      world.router.update(SPELLED, said);
      await settled();
      world.channel.answers.delete('qwen/control/session/close');
      world.sessions.close(before, undefined);
      const loading = world.load(KEY, { action });
      await settled();
      // The agent is still closing it.
      expect(asked('session/load')).toEqual([]);
      world.channel.next('qwen/control/session/close').answer({});
      const { session } = await loading;
      expect(asked('session/load')).toEqual([SPELLED]);
      expect(session.sessionId).toBe(SPELLED);
      world.router.update(SPELLED, said);
      expect(eventsOf(session.bus)).toMatchObject([{ type: 'session_update', data: said }]);
    },
  );

  test('is asked for by the coordinator as it knows it', async () => {
    await world.restore({ sessionId: SPELLED });
    expect(asked('session/load')).toEqual([SPELLED]);
    expect(world.sessions.find(KEY)?.sessionId).toBe(SPELLED);
  });
});

describe('a caller that left', () => {
  test('leaves no fresh restore behind', async () => {
    await world.load('old', { hasLeft: () => true });
    expect(world.sessions.all()).toEqual([]);
  });

  test('leaves what others hold', async () => {
    await world.load();
    await world.load('old', { hasLeft: () => true });
    expect(world.sessions.all()).toHaveLength(1);
  });
});

describe('a mode that is asked for with the restore', () => {
  const untrusted = new AgentCallError(-32003, 'not trusted', { errorKind: 'trust_gate' });
  const believed = () =>
    world.records.filter(({ type }) => type === 'session' || type === 'session_ended').at(-1);
  beforeEach(async () => {
    await world.host.channel();
    world.channel.answers.delete('session/set_mode');
  });
  const answerMode = async (act: 'take' | 'refuse') => {
    await settled();
    const call = world.channel.next('session/set_mode');
    if (act === 'take') call.answer({});
    else call.fail(untrusted);
  };

  test.each<RestoreAction>(['load', 'resume'])(
    'and refused is the answer to the %s, and the session rests again',
    async (action) => {
      const refused = refusal(world.load('old', { action, approvalMode: 'yolo' }));
      await answerMode('refuse');
      expect(await refused).toEqual({ status: 403, code: 'trust_gate' });
      expect(world.sessions.all()).toEqual([]);
      expect(believed()).toMatchObject({
        type: 'session_ended',
        ended: { sessionId: 'old', reason: 'last_client_detached' },
      });
      expect(await world.load()).toMatchObject({ isAttached: false });
    },
  );

  test('and refused costs nobody else the session: neither who joined nor the coordinator', async () => {
    world.channel.answers.delete('session/load');
    const refused = refusal(world.load('old', { approvalMode: 'yolo' }));
    const joined = world.load();
    const restored = world.restore();
    await settled();
    world.channel.next('session/load').answer({});
    await answerMode('refuse');
    expect(await refused).toMatchObject({ code: 'trust_gate' });
    expect(await restored).toMatchObject({ sessionId: 'old' });
    const { session, clientId } = await joined;
    expect([session.hasEnded, session.clients.ids()]).toEqual([false, [clientId]]);
  });

  test('and refused at an attach leaves the session to those who have it', async () => {
    const { session, clientId } = await world.load();
    const refused = refusal(world.load('old', { approvalMode: 'yolo' }));
    await answerMode('refuse');
    expect(await refused).toMatchObject({ code: 'trust_gate' });
    expect([session.hasEnded, session.clients.ids()]).toEqual([false, [clientId]]);
  });

  test('is told as the doing of the one who asks', async () => {
    const loading = world.load('old', { approvalMode: 'plan' });
    await answerMode('take');
    const { session, clientId } = await loading;
    const told = eventsOf(session.bus).find(({ type }) => type === 'approval_mode_changed');
    expect(told).toMatchObject({ originatorClientId: clientId, data: { next: 'plan' } });
  });

  test('changes nothing for a caller that has left, and one that leaves meanwhile is detached', async () => {
    const { session, clientId } = await world.load();
    await world.load('old', { approvalMode: 'plan', hasLeft: () => true });
    expect(world.channel.open('session/set_mode')).toEqual([]);
    let hasLeft = false;
    const attaching = world.load('old', { approvalMode: 'plan', hasLeft: () => hasLeft });
    await settled();
    hasLeft = true;
    await answerMode('take');
    await attaching;
    expect(session.clients.ids()).toEqual([clientId]);
  });
});

describe('the past', () => {
  test('comes from our transcript, and what the agent tells of it is swallowed', async () => {
    await world.lived('old');
    world.channel.answers.set('session/load', () => {
      world.router.update('old', chunk('told again'));
      return {};
    });
    const { session } = await world.load();
    const { compactedReplay } = session.past.replay.answer(QUERY, 0);
    expect(compactedReplay.map(({ data }) => data)).toEqual([chunk('of the past')]);
    expect(session.bus.ring.size).toBe(0);
  });

  test('is what the agent tells where we have none, and then we keep it', async () => {
    await world.host.channel();
    world.channel.answers.set('session/load', () => {
      world.router.update('old', chunk('a'));
      world.router.update('old', chunk('b'));
      return {};
    });
    const { session } = await world.load();
    expect(session.past.replay.answer(QUERY, 0).compactedReplay.map(({ data }) => data)).toEqual([
      chunk('ab'),
    ]);
    expect((await world.ownership.history.read('old'))?.records).toHaveLength(2);
  });

  test('has the times that the agent gives, and the session that of its beginning', async () => {
    await world.host.channel();
    world.channel.answers.set('session/load', () => {
      const update = { sessionUpdate: 'plan', entries: [], _meta: { timestamp: 1234 } };
      world.router.update('old', { sessionId: 'old', update });
      return {};
    });
    const { session } = await world.load();
    expect(session.createdAtMs).toBe(1234);
    const [told] = session.past.replay.answer(QUERY, 0).compactedReplay;
    expect(told?._meta).toEqual({ serverTimestamp: 1234 });
  });

  test('is not the present: commands that come with the load are live events', async () => {
    await world.host.channel();
    const commands = {
      sessionId: 'old',
      update: { sessionUpdate: 'available_commands_update', availableCommands: [] },
    };
    world.channel.answers.set('session/load', () => {
      world.router.update('old', chunk('a'));
      world.router.update('old', commands);
      return {};
    });
    const { session } = await world.load();
    expect(eventsOf(session.bus)).toMatchObject([{ id: 2, type: 'session_update', data: commands }]);
  });

  test('of a killed daemon ends with the prompt that it lost', async () => {
    const recording = world.ownership.history.begin(
      { sessionId: 'old', workspaceCwd: '/ws', createdAtMs: 5 },
      () => undefined,
    );
    const data = { sessionId: 'old', update: { sessionUpdate: 'user_message_chunk', content: {} } };
    const tail = JSON.stringify({ v: 1, type: 'session_update', data, promptId: 'p-9' }).slice(1);
    recording.note({ id: 7, type: 'session_update', data, tail });
    recording.flush();
    const { session } = await world.load();
    expect(eventsOf(session.bus)).toMatchObject([
      { id: 8, type: 'turn_error', promptId: 'p-9', data: { code: 'daemon_restarted', promptId: 'p-9' } },
    ]);
    expect(session.past.replay.terminals()).toMatchObject([{ promptId: 'p-9', terminal: 'interrupted' }]);
  });
});

const QUERY = { compactedMode: 'full', journalMode: 'full', pageSize: undefined } as const;

describe('for the coordinator', () => {
  const clients = [{ clientId: 'client_a', count: 2, lastSeenAtMs: 3 }];

  test('a session lives under its old id, with its clients, its name and its place, above its old events', async () => {
    const answer = await world.restore({
      clients,
      isDefault: true,
      displayName: 'Named',
      sourceType: 'ide',
      lostPrompts: ['p-1', 'p-2'],
    });
    const session = world.sessions.get('old');
    expect(session.feedSession(world.slot.isFilledBy(session))).toMatchObject({
      clients,
      isDefault: true,
      displayName: 'Named',
      sourceType: 'ide',
      createdAtMs: 5,
      eventHead: 20_002,
    });
    expect(eventsOf(session.bus)).toMatchObject([
      { id: 20_001, type: 'turn_error', data: { promptId: 'p-1', code: 'daemon_restarted' } },
      { id: 20_002, type: 'turn_error', data: { promptId: 'p-2', code: 'daemon_restarted' } },
    ]);
    expect(answer.feedSeq).toBe(world.records.length);
    const failed = world.records.filter(({ type }) => type === 'prompt');
    expect(failed).toMatchObject([
      { prompt: { promptId: 'p-1', state: 'failed' } },
      { prompt: { promptId: 'p-2' } },
    ]);
  });

  test('a heartbeat with an old client id goes on working', async () => {
    await world.restore({ clients });
    expect(world.sessions.heartbeat(world.sessions.get('old'), 'client_a')).toBe(world.clock.nowMs());
  });

  test('nobody is registered, and the session does not close until somebody came and left', async () => {
    await world.restore({ clients });
    const session = world.sessions.get('old');
    for (let i = 0; i < 2; i++) world.sessions.detach(session, 'client_a');
    expect(session.clients.size).toBe(0);
    expect(session.hasEnded).toBe(false);
    const { clientId } = await world.load();
    world.sessions.detach(session, clientId);
    expect(session.hasEnded).toBe(true);
  });

  test('a single create that comes meanwhile waits for it, and spawns afresh where it fails', async () => {
    world.isLoadAnswered = false;
    const failing = refusal(world.restore({ sessionId: 'gone', isDefault: true }));
    const create = world.sessions.create(
      parseCreateRequest({ sessionScope: 'single' }),
      undefined,
      () => false,
    );
    await settled();
    world.channel.next('session/load').fail(new AgentCallError(-32603, 'broken'));
    expect(await failing).toMatchObject({ status: 500 });
    expect(await create).toMatchObject({ isAttached: false });
  });

  test('a single create attaches to what was brought back', async () => {
    await world.restore({ isDefault: true });
    const create = world.sessions.create(
      parseCreateRequest({ sessionScope: 'single' }),
      undefined,
      () => false,
    );
    expect(await create).toMatchObject({ isAttached: true, session: { sessionId: 'old' } });
  });

  test('a session that lives already takes over what is known, and no running prompt is called lost', async () => {
    const { session } = await world.load();
    const { promptId } = session.turns.submit({ prompt: [{ type: 'text', text: 'x' }] }, undefined);
    await world.restore({ clients, lostPrompts: [promptId, 'p-1'] });
    expect(session.clients.has('client_a')).toBe(true);
    const errors = eventsOf(session.bus).filter(({ type }) => type === 'turn_error');
    expect(errors.map(({ promptId: id }) => id)).toEqual(['p-1']);
  });
});
