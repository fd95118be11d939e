// The judge of the chaos suites is judged: a session that goes with its daemon, and one that an agent's death does not explain,
// are losses, however well the store knows why they are closed.
import { afterEach, describe, expect, test } from '@jest/globals';
import { endFleets } from '../support/fleet-process.ts';
import { isExplained } from '../support/judge.ts';
import { Ordeal } from '../support/ordeal.ts';
import { seeded } from '../support/seeded.ts';

afterEach(endFleets);

describe('a session that is closed', () => {
  const kill = { incarnation: 'w-2', atMs: 1000 };
  const end = { incarnation: 'w-2', reason: 'channel_closed', atMs: 1001 };
  const dealt = { faults: ['kill an agent', 'kill a daemon'], agentKills: [kill] };

  test('with its agent, after that was killed, is explained', () => {
    expect(isExplained(end, dealt)).toBe(true);
  });

  test.each([
    ['with the agent of another daemon', { ...end, incarnation: 'w-1' }],
    ['before its agent was killed', { ...end, atMs: 999 }],
    ...['restore_failed', 'unknown_end', 'daemon_ended', 'daemon_died', 'client_close', 'null'].map(
      (reason) => [`by ${reason}`, { ...end, reason }] as const,
    ),
  ])('%s is not', (_how, unexplained) => {
    expect(isExplained(unexplained, dealt)).toBe(false);
  });
});

async function judged(victim: 'agent' | 'daemon', canLoad: boolean) {
  const ordeal = new Ordeal({ random: seeded(20_261_121), canLoad });
  await ordeal.start();
  const witness = ordeal.witness();
  witness.start(() => 'hello');
  await ordeal.recovered('the start', 0);
  await ordeal.kill(victim);
  await ordeal.recovered(`kill the ${victim}`, performance.now());
  const totals = await ordeal.judge();
  await ordeal.end();
  return { ordeal, totals, first: witness.sessions[0] };
}

test('an agent that was killed explains the end of its session, which is counted', async () => {
  const { ordeal, totals, first } = await judged('agent', true);
  expect(ordeal.violations).toEqual([]);
  expect(totals.replaced).toEqual([{ sessionId: first, reason: 'channel_closed' }]);
}, 60_000);

test('a daemon that was killed explains no end: where the agent cannot load, that is told with session and faults', async () => {
  const { ordeal, first } = await judged('daemon', false);
  expect(ordeal.violations).toEqual([
    expect.stringMatching(new RegExp(`^session ${first} .*closed by daemon_died.*dealt: kill the daemon`)),
  ]);
}, 60_000);
