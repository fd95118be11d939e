import { expect, test } from '@jest/globals';
import { EARLY_BOUNDS, EarlyEvents } from '../../../daemon/domain/early-events.ts';

const BOUNDS = { maxSessions: 2, maxEventsPerSession: 3, maxAgeMs: 1000 };

test('the protocol’s bounds are the default', () => {
  expect(EARLY_BOUNDS).toEqual({ maxSessions: 64, maxEventsPerSession: 32, maxAgeMs: 60_000 });
});

test('events of a session are handed over in order, once, and apart from those of others', () => {
  const early = new EarlyEvents<string>(BOUNDS);
  for (const event of ['a', 'b']) early.keep('one', event, 0);
  early.keep('two', 'x', 0);
  expect(early.take('one')).toEqual(['a', 'b']);
  expect([early.take('one'), early.take('two'), early.take('nobody')]).toEqual([[], ['x'], []]);
});

test('beyond a bound the newest event is dropped, and that is said', () => {
  const early = new EarlyEvents<number>(BOUNDS);
  expect([1, 2, 3, 4].map((event) => early.keep('one', event, 0))).toEqual([true, true, true, false]);
  expect(early.keep('two', 1, 0)).toBe(true);
  expect(early.keep('three', 1, 0)).toBe(false);
  expect(early.take('one')).toEqual([1, 2, 3]);
  // What was handed over makes room.
  expect(early.keep('three', 1, 0)).toBe(true);
});

test('a session that never came to be makes room when it is old', () => {
  const early = new EarlyEvents<number>(BOUNDS);
  early.keep('old', 1, 0);
  early.keep('younger', 1, 500);
  expect(early.keep('new', 1, 1000)).toBe(false);
  expect(early.keep('new', 1, 1001)).toBe(true);
  expect([early.take('old'), early.take('younger')]).toEqual([[], [1]]);
});

test('ids that are names of an object’s own parts are ids like others', () => {
  const early = new EarlyEvents<number>(BOUNDS);
  early.keep('__proto__', 1, 0);
  early.keep('constructor', 2, 0);
  expect([early.take('constructor'), early.take('__proto__')]).toEqual([[2], [1]]);
});
