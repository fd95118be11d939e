import { expect, test } from '@jest/globals';
import { livenessOf } from '../../../coordinator/domain/liveness.ts';

const FACTOR = 3;

test('a daemon whose beats come is alive, even when it left a probe unanswered', () => {
  expect(livenessOf({ silentMs: 15_000, beatMs: 5000, probe: 'unanswered' }, FACTOR)).toBe('alive');
});

test('missing beats alone make it overdue, not frozen', () => {
  expect(livenessOf({ silentMs: 15_001, beatMs: 5000, probe: 'not_asked' }, FACTOR)).toBe('overdue');
});

test('a silent feed of a daemon that answers is overdue', () => {
  expect(livenessOf({ silentMs: 600_000, beatMs: 5000, probe: 'answered' }, FACTOR)).toBe('overdue');
});

test('missing beats and no answer are a frozen daemon', () => {
  expect(livenessOf({ silentMs: 15_001, beatMs: 5000, probe: 'unanswered' }, FACTOR)).toBe('frozen');
});
