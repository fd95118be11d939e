// Each fault three times at random moments while clients stream. The seed makes the moments; a run with it repeats them.
import { afterEach, expect, test } from '@jest/globals';
import { endFleets } from '../support/fleet-process.ts';
import { FAULTS, Ordeal } from '../support/ordeal.ts';
import { seeded } from '../support/seeded.ts';

afterEach(endFleets);

const ROUNDS = 3;

test.each(FAULTS)(
  '%s, under load: nothing acknowledged is lost, nothing is left, all are served again',
  async (fault) => {
    const ordeal = new Ordeal({ workspaces: 2, random: seeded(4711) });
    await ordeal.start();
    for (const workspace of [0, 1, 0]) ordeal.witness(workspace).start(() => 'N:20:50:2');
    await ordeal.recovered('the start', 0);
    for (let round = 0; round < ROUNDS; round += 1) {
      await new Promise((resolve) => setTimeout(resolve, 50 + ordeal.random() * 300));
      await ordeal.recovered(fault, await ordeal.fault(fault));
    }
    expect(await ordeal.judge()).toMatchObject({ lost: 0 });
    await ordeal.end();
    expect(ordeal.violations).toEqual([]);
  },
  120_000,
);

test('ten restarts of the coordinator under load', async () => {
  const ordeal = new Ordeal({ workspaces: 2, random: seeded(1010) });
  await ordeal.start();
  for (const workspace of [0, 1, 0, 1])
    ordeal.witness(workspace).start(() => ordeal.pick(['N:100:50:5', 'permission', 'hello']));
  await ordeal.recovered('the start', 0);
  const before = ordeal.daemons().map(({ pid }) => pid);
  for (let round = 0; round < 10; round += 1) {
    await new Promise((resolve) => setTimeout(resolve, ordeal.random() * 400));
    await ordeal.fault('kill the coordinator');
  }
  await ordeal.recovered('ten restarts', performance.now());
  expect(ordeal.daemons().map(({ pid }) => pid)).toEqual(before);
  expect(await ordeal.judge()).toMatchObject({ lost: 0, reported: 0 });
  await ordeal.end();
  expect(ordeal.violations).toEqual([]);
}, 120_000);
