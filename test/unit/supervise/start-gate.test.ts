import { expect, test } from '@jest/globals';
import { StartGate } from '../../../coordinator/supervise/daemon/start-gate.ts';

test('as many starts run at once as may, the others in their order', () => {
  const gate = new StartGate(2);
  const begun: string[] = [];
  for (const key of ['a', 'b', 'c', 'd']) gate.enter(key, () => begun.push(key) > 0);
  expect(begun).toEqual(['a', 'b']);
  gate.leave('b');
  expect(begun).toEqual(['a', 'b', 'c']);
  gate.leave('a');
  gate.leave('c');
  expect(begun).toEqual(['a', 'b', 'c', 'd']);
});

test('a start that nobody wants any more costs its turn nothing', () => {
  const gate = new StartGate(1);
  const begun: string[] = [];
  gate.enter('a', () => begun.push('a') > 0);
  gate.enter('b', () => false);
  gate.enter('c', () => begun.push('c') > 0);
  gate.leave('a');
  expect(begun).toEqual(['a', 'c']);
});

test('asking twice takes one place', () => {
  const gate = new StartGate(2);
  let starts = 0;
  const begin = () => ++starts > 0;
  gate.enter('a', begin);
  gate.enter('a', begin);
  gate.leave('a');
  gate.leave('a');
  expect(starts).toBe(1);
});
