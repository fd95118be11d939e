import { expect, test } from '@jest/globals';
import { detectionBoundMs, livenessOf, toleratedPauseMs } from '../../../coordinator/domain/liveness.ts';
import { DEFAULT_SUPERVISE_SETTINGS } from '../../../coordinator/supervise/settings.ts';
import { DEFAULT_LIMITS } from '../../../daemon/contract/limits.ts';

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

test('with the defaults a pause of 15 s is tolerated and a freeze is found within 35 s', () => {
  const { feedBeatMs } = DEFAULT_LIMITS;
  expect(toleratedPauseMs(feedBeatMs, DEFAULT_SUPERVISE_SETTINGS)).toBe(15_000);
  expect(detectionBoundMs(feedBeatMs, DEFAULT_SUPERVISE_SETTINGS)).toBe(35_000);
});
