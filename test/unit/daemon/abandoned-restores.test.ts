// What an operator reads of a restore that went on for too long.
import { expect, test } from '@jest/globals';
import { createLog } from '../../../daemon/contract/log.ts';
import { AbandonedRestores } from '../../../daemon/restore/abandoned-restores.ts';
import { FakeChannel } from '../../support/fake-channel.ts';
import { ManualClock, settled } from '../../support/manual-clock.ts';

const SPELLED = 'AAAAAAAA-2222-4333-8444-555555555555';

test('the log names the session as the agent spells it, and the id is blocked in every spelling', async () => {
  const logged: Record<string, unknown>[] = [];
  const log = createLog('test', 'debug', { write: (line: string) => void logged.push(JSON.parse(line)) });
  const register = { find: () => undefined, isReserved: () => false };
  const abandoned = new AbandonedRestores({ register, limits: { initializeTimeoutMs: 1000 }, log });
  const channel = new FakeChannel(new ManualClock());
  channel.answers.set('qwen/control/session/close', () => {
    throw new Error('no');
  });
  let end: () => void = () => undefined;
  const call = new Promise<void>((resolve) => {
    end = resolve;
  });
  abandoned.add({ sessionId: SPELLED, channel, isOfCoordinator: true, call });
  expect(() => abandoned.checkFree(SPELLED.toLowerCase(), 'load')).toThrow();
  end();
  await settled();
  expect(() => abandoned.checkFree(SPELLED.toLowerCase(), 'load')).not.toThrow();
  expect(logged.map(({ msg, sessionId }) => [msg, sessionId])).toEqual([
    ['a restore was abandoned; the agent may still be working on it', SPELLED],
    ['the agent did not close its session', SPELLED],
  ]);
});
