// The deep health answer: what counts as work, and since when there is none.
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { parseCreateRequest } from '../../../daemon/domain/create-request.ts';
import type { Call } from '../../../daemon/http/call.ts';
import { health } from '../../../daemon/http/routes/meta.ts';
import { settled } from '../../support/manual-clock.ts';
import { RestoreWorld } from '../../support/restore-world.ts';

class Daemon extends RestoreWorld {
  readonly #since = this.clock.nowMs();

  get health(): unknown {
    const { sessions, clock } = this;
    const activity = { lastAtMs: () => this.#since, isAgentAlive: () => true };
    const answer = health({ sessions, clock, activity, rateGate: undefined })({
      query: new URLSearchParams('deep=1'),
    } as Call);
    return (answer as { readonly body: unknown }).body;
  }
}

let daemon: Daemon;
beforeEach(() => {
  daemon = new Daemon({ promptDeadlineMs: 100, agentKillGraceMs: 5000 });
});
afterEach(() => daemon.end());

test('a prompt that waits while none runs is work, and nothing is idle before its end', async () => {
  const { session } = await daemon.sessions.create(parseCreateRequest({}), undefined, () => false);
  const prompt = { prompt: [{ type: 'text', text: 'hello' }] };
  daemon.clock.advance(1000);
  expect(daemon.health).toMatchObject({ activePrompts: 0, activeWork: false, idleSinceMs: 1000 });
  for (let count = 0; count < 2; count += 1) session.turns.submit(prompt, undefined);
  expect(daemon.health).toMatchObject({ activePrompts: 1, activeWork: true, idleSinceMs: null });
  // The agent has yet to let go of the prompt that passed its deadline.
  daemon.clock.advance(100);
  expect(daemon.health).toMatchObject({ activePrompts: 0, activeWork: true, idleSinceMs: null });
  daemon.clock.advance(5000);
  daemon.channel.open('session/prompt').at(-1)?.answer({});
  await settled();
  expect(daemon.health).toMatchObject({ activePrompts: 0, activeWork: false, idleSinceMs: 6100 });
});
