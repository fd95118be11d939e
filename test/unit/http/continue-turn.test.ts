import type { IncomingMessage, ServerResponse } from 'node:http';
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { DEFAULT_LIMITS } from '../../../daemon/contract/limits.ts';
import type { Call } from '../../../daemon/http/call.ts';
import { continueTurn } from '../../../daemon/http/routes/agent-calls.ts';
import { settled } from '../../support/manual-clock.ts';
import { RestoreWorld } from '../../support/restore-world.ts';

const METHOD = 'qwen/control/session/continue';

let world: RestoreWorld;
beforeEach(() => {
  world = new RestoreWorld();
});
afterEach(() => world.end());

function continueOld() {
  const context = { sessions: world.sessions, limits: DEFAULT_LIMITS };
  const call: Call = {
    req: { headers: {} } as IncomingMessage,
    res: {} as ServerResponse,
    params: { id: 'old' },
    query: new URLSearchParams(),
    body: {},
    peer: 'loopback',
    hasLeft: () => false,
  };
  return continueTurn(context)(call);
}

test('a turn that the agent goes on with is run though the intake was paused meanwhile', async () => {
  const { session } = await world.load();
  const continued = continueOld();
  await settled();
  world.sessions.intake.pause();
  world.channel.next(METHOD).answer({ accepted: true });
  expect(await continued).toMatchObject({ status: 200, body: { accepted: true } });
  expect(session.turns.isIdle).toBe(false);
});

test('no turn is begun once the intake is paused', async () => {
  await world.load();
  world.sessions.intake.pause();
  await expect(continueOld()).rejects.toMatchObject({ code: 'daemon_draining' });
  expect(world.channel.open(METHOD)).toEqual([]);
});
