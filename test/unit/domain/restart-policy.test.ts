import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import { type Death, judgeDeath, type RestartPolicy } from '../../../coordinator/domain/restart-policy.ts';

const policy: RestartPolicy = {
  intensity: 5,
  periodMs: 60_000,
  firstBackoffMs: 500,
  maxBackoffMs: 3000,
  jitter: 0.5,
  coolOffMs: 30_000,
};
/** The first death of a daemon. */
const FIRST = { history: [], nowMs: 0, policy, random: 0 };
const crash: Death = { end: 'own', wasReady: true, code: 1 };

function dieAt(times: readonly number[], random = 0) {
  let history: readonly number[] = [];
  return times.map((atMs) => {
    const judged = judgeDeath(crash, { history, nowMs: atMs, policy, random });
    history = judged.history;
    return judged.verdict;
  });
}

test('an asked-for end is clean whatever the exit code', () => {
  const death: Death = { end: 'asked', wasReady: false, code: 137 };
  expect(judgeDeath(death, FIRST)).toEqual({ verdict: { kind: 'clean' }, history: [] });
});

test('an own exit with code 0 is clean after it had served, a failed start before', () => {
  expect(judgeDeath({ end: 'own', wasReady: true, code: 0 }, FIRST).verdict.kind).toBe('clean');
  expect(judgeDeath({ end: 'own', wasReady: false, code: 0 }, FIRST).verdict.kind).toBe('retry');
});

test('a daemon that was given up on counts as a death even when it then exits with code 0', () => {
  const death: Death = { end: 'given_up', wasReady: true, code: 0 };
  expect(judgeDeath(death, FIRST).verdict.kind).toBe('retry');
});

test('the wait doubles with every death up to its maximum', () => {
  const waits = dieAt([0, 1, 2, 3, 4]).map((verdict) =>
    verdict.kind === 'retry' ? verdict.afterMs : verdict,
  );
  expect(waits).toEqual([500, 1000, 2000, 3000, 3000]);
});

test('jitter shortens the wait by at most its share', () => {
  expect(dieAt([0], 0.999)).toEqual([{ kind: 'retry', afterMs: 250 }]);
});

test('one death more than the intensity within the period fails until the cool-off is over', () => {
  expect(dieAt([0, 1, 2, 3, 4, 5]).at(-1)).toEqual({ kind: 'failed', untilMs: 5 + policy.coolOffMs });
});

test('deaths that are older than the period do not count', () => {
  const verdicts = dieAt([0, 1, 2, 3, 4, 60_004]);
  expect(verdicts.at(-1)).toEqual({ kind: 'retry', afterMs: 500 });
});

test('it fails exactly when more than the intensity of deaths lie within one period', () => {
  const gaps = fc.array(fc.integer({ min: 0, max: 40_000 }), { maxLength: 20 });
  fc.assert(
    fc.property(gaps, (spans) => {
      let nowMs = 0;
      const times = spans.map((span) => {
        nowMs += span;
        return nowMs;
      });
      dieAt(times).forEach((verdict, index) => {
        const recent = times
          .slice(0, index + 1)
          .filter((atMs) => (times[index] ?? 0) - atMs < policy.periodMs);
        expect(verdict.kind).toBe(recent.length > policy.intensity ? 'failed' : 'retry');
      });
    }),
  );
});
