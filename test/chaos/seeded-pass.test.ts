// The short form of test/chaos/full-*: a few faults one after the other while clients stream, always the same ones. The long
// form is "npm run test:chaos", the endless one "npm run soak".
import { afterEach, expect, test } from '@jest/globals';
import { endFleets } from '../support/fleet-process.ts';
import { FAULTS, Ordeal } from '../support/ordeal.ts';
import { seeded } from '../support/seeded.ts';

afterEach(endFleets);

const TURNS = ['N:20:50:2', 'N:100:80:2', 'permission', 'hello'];

test('one fault after the other, under load: nothing acknowledged is lost, nothing is left, all are served again', async () => {
  const ordeal = new Ordeal({ workspaces: 2, random: seeded(20_261_120) });
  await ordeal.start();
  for (const workspace of [0, 1, 0]) ordeal.witness(workspace).start(() => ordeal.pick(TURNS));
  await ordeal.recovered('the start', 0);
  for (const fault of FAULTS) await ordeal.recovered(fault, await ordeal.fault(fault));
  const { acknowledged, completed, lost } = await ordeal.judge();
  await ordeal.end();
  expect(ordeal.violations).toEqual([]);
  expect(lost).toBe(0);
  expect(completed).toBeGreaterThan(5);
  expect(acknowledged).toBeGreaterThanOrEqual(completed);
  // Some 12 s on an idle machine. However slow it is, every fault is dealt.
}, 300_000);
