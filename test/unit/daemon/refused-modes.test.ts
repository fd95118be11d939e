// What a refused mode costs: the caller its answer, and nobody anything else.
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { AgentCallError, type Params } from '../../../daemon/agent/agent.ts';
import { parseCreateRequest } from '../../../daemon/domain/create-request.ts';
import { settled } from '../../support/manual-clock.ts';
import { chunk, RestoreWorld } from '../../support/restore-world.ts';

const CHOSEN = '6f9619ff-8b86-4d01-b42d-00c04fc964ff';
const UNTRUSTED = new AgentCallError(-32003, 'not trusted', { errorKind: 'trust_gate' });

let world: RestoreWorld;
beforeEach(async () => {
  world = new RestoreWorld();
  await world.host.channel();
  world.channel.answers.delete('session/set_mode');
});
afterEach(() => world.end());

const create = (body: Params, offered?: string) =>
  world.sessions.create(parseCreateRequest(body), offered, () => false);

const refuse = async () => {
  await settled();
  world.channel.next('session/set_mode').fail(UNTRUSTED);
};

describe('a chosen id', () => {
  beforeEach(() => {
    world.channel.answers.set('session/new', () => ({ sessionId: CHOSEN }));
  });

  test('is free again after the mode was refused', async () => {
    const refused = expect(create({ sessionId: CHOSEN, approvalMode: 'yolo' })).rejects.toMatchObject({
      code: 'trust_gate',
    });
    await refuse();
    await refused;
    expect((await create({ sessionId: CHOSEN })).session.sessionId).toBe(CHOSEN);
  });

  test('is not where something was said in its session', async () => {
    const { session } = await create({ sessionId: CHOSEN });
    world.router.update(CHOSEN, { ...chunk('said'), sessionId: CHOSEN });
    await settled();
    world.sessions.close(session, undefined);
    await expect(create({ sessionId: CHOSEN })).rejects.toMatchObject({
      code: 'session_id_conflict',
      context: { conflict: 'stored' },
    });
  });
});

test('whoever waits for the same single session has one made without the refused mode', async () => {
  const refused = expect(create({ approvalMode: 'yolo' })).rejects.toMatchObject({ code: 'trust_gate' });
  const others = [create({}), create({})];
  await refuse();
  await refused;
  const [made, shared] = await Promise.all(others);
  expect([made?.isAttached, shared?.isAttached]).toEqual([false, true]);
  expect(shared?.session).toBe(made?.session);
  expect(world.sessions.all()).toEqual([made?.session]);
});

describe('a session that nobody is registered on', () => {
  const attachInVain = async (meanwhile: () => void = () => undefined) => {
    const refused = expect(world.load('old', { approvalMode: 'yolo' })).rejects.toMatchObject({
      code: 'trust_gate',
    });
    await settled();
    meanwhile();
    await refuse();
    await refused;
  };

  test('outlives who attached and was refused', async () => {
    await world.restore();
    const session = world.sessions.get('old');
    await attachInVain();
    expect([session.hasEnded, session.clients.ids()]).toEqual([false, []]);
    expect(world.records.at(-1)).toMatchObject({ type: 'session', session: { clients: [] } });
  });

  test('ends with the refusal where its last client has left meanwhile', async () => {
    const { session, clientId } = await world.load();
    await attachInVain(() => world.sessions.detach(session, clientId));
    expect(session.hasEnded).toBe(true);
  });
});

describe('a session that is closed while it is asked for a mode', () => {
  const closeThenAnswer = async (act: 'take' | 'refuse') => {
    await settled();
    const call = world.channel.next('session/set_mode');
    for (const session of world.sessions.all()) world.sessions.close(session, undefined);
    world.channel.answers.set('session/set_mode', () => ({}));
    if (act === 'take') call.answer({});
    else call.fail(new AgentCallError(-32002, 'unknown session'));
  };

  test.each(['take', 'refuse'] as const)('is no answer to a create that attached: %s', async (act) => {
    const { session } = await create({});
    const attaching = create({ approvalMode: 'plan' });
    await closeThenAnswer(act);
    const created = await attaching;
    expect([created.isAttached, created.session.hasEnded]).toEqual([false, false]);
    expect(created.session).not.toBe(session);
  });

  test.each(['take', 'refuse'] as const)('is brought back for a load that attached: %s', async (act) => {
    const { session } = await world.load();
    const loading = world.load('old', { approvalMode: 'plan' });
    await closeThenAnswer(act);
    const loaded = await loading;
    expect([loaded.isAttached, loaded.session.hasEnded]).toEqual([false, false]);
    expect(loaded.session).not.toBe(session);
  });

  test('is no answer to the load that brought it back', async () => {
    const loading = expect(world.load('old', { approvalMode: 'plan' })).rejects.toMatchObject({
      code: 'acp_channel_unavailable',
    });
    await closeThenAnswer('take');
    await loading;
  });
});
