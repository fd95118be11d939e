// Sessions that do not come to be although the agent has answered: nothing of their past stays open, and none of another's is
// lost.
import { readdirSync } from 'node:fs';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { parseCreateRequest } from '../../../daemon/domain/create-request.ts';
import { TRANSCRIPT_METHOD } from '../../../daemon/history/agent-history.ts';
import { settled } from '../../support/manual-clock.ts';
import { chunk, RestoreWorld } from '../../support/restore-world.ts';

let world: RestoreWorld;
beforeEach(() => {
  world = new RestoreWorld();
});
afterEach(() => world.end());

const create = () =>
  world.sessions.create(parseCreateRequest({ sessionScope: 'thread' }), undefined, () => false);

describe.each([
  ['create', create],
  ['restore', () => world.load()],
])('a %s', (_, begin) => {
  test.each([
    ['the agent dies', () => world.channel.die(), 'acp_channel_unavailable'],
    ['the daemon stops', () => world.sessions.stop(), 'daemon_draining'],
  ])('during whose last question %s begins no transcript', async (_, end, code) => {
    await world.host.channel();
    world.channel.answers.delete(TRANSCRIPT_METHOD);
    const refused = expect(begin()).rejects.toMatchObject({ code });
    await settled();
    expect(world.channel.open(TRANSCRIPT_METHOD)).toHaveLength(1);
    end();
    await settled();
    world.clock.advance(10_000);
    await refused;
    expect(readdirSync(world.dir)).toEqual([]);
  });
});

test('an id that the agent issues twice at once costs the live session nothing of its transcript', async () => {
  const [first, second] = await Promise.allSettled([create(), create()]);
  expect([first.status, second.status]).toEqual(['fulfilled', 'rejected']);
  world.router.update('old', chunk('said'));
  await settled();
  await expect(create()).rejects.toMatchObject({ code: 'session_id_conflict' });
  world.router.update('old', chunk('said'));
  await settled();
  expect((await world.ownership.history.read('old'))?.records).toHaveLength(2);
});
