import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { type IdleFacts, judgeIdle, workOf } from '../../../coordinator/domain/idle-policy.ts';

const idle: IdleFacts = {
  sessions: 2,
  prompts: 0,
  openPermissions: 0,
  backgroundSessions: 0,
  isOpening: false,
  subscribers: 0,
  sinceGestureMs: 1000,
  sinceHeartbeatMs: Number.POSITIVE_INFINITY,
  canLoad: true,
  isPinned: false,
};
const limits = { idleTimeoutMs: 1000, watchedIdleTimeoutMs: 5000 };

describe('idle stop', () => {
  test('comes after the timeout, not before', () => {
    expect(judgeIdle(idle, limits).kind).toBe('stop');
    expect(judgeIdle({ ...idle, sinceGestureMs: 999 }, limits)).toEqual({ kind: 'wait', forMs: 1 });
  });

  test.each<[string, Partial<IdleFacts>]>([
    ['a prompt', { prompts: 1 }],
    ['an open permission question', { openPermissions: 1 }],
    ['work that the agent holds', { backgroundSessions: 1 }],
    ['a session that is being opened', { isOpening: true }],
    ['a pin', { isPinned: true }],
    ['sessions that its agent could not bring back', { canLoad: false }],
    ['sessions of an agent that never told', { canLoad: null }],
  ])('never comes over %s, however long it lasts', (_what, facts) => {
    expect(judgeIdle({ ...idle, ...facts, sinceGestureMs: 1e12 }, limits).kind).toBe('keep');
  });

  test.each<[string, Partial<IdleFacts>]>([
    ['a stream', { subscribers: 1 }],
    ['a heartbeat', { sinceHeartbeatMs: 10 }],
  ])('is put off by %s, up to the longer limit', (_what, facts) => {
    expect(judgeIdle({ ...idle, ...facts, sinceGestureMs: 4999 }, limits)).toEqual({
      kind: 'wait',
      forMs: 1,
    });
    expect(judgeIdle({ ...idle, ...facts, sinceGestureMs: 5000 }, limits).kind).toBe('stop');
  });

  test('a daemon without sessions needs no agent that can load', () => {
    expect(judgeIdle({ ...idle, sessions: 0, canLoad: null }, limits).kind).toBe('stop');
  });

  test('a timeout of zero is never', () => {
    expect(judgeIdle({ ...idle, sinceGestureMs: 1e12 }, { ...limits, idleTimeoutMs: 0 }).kind).toBe('keep');
  });

  test('whatever has work is never stopped, and what is stopped had none', () => {
    const count = fc.integer({ min: 0, max: 2 });
    fc.assert(
      fc.property(
        fc.record({
          sessions: count,
          prompts: count,
          openPermissions: count,
          backgroundSessions: count,
          isOpening: fc.boolean(),
          subscribers: count,
          sinceGestureMs: fc.nat(10_000),
          sinceHeartbeatMs: fc.nat(10_000),
          canLoad: fc.constantFrom(true, false, null),
          isPinned: fc.boolean(),
        }),
        (facts) => {
          const verdict = judgeIdle(facts, limits);
          if (workOf(facts) !== undefined) expect(verdict.kind).toBe('keep');
          if (verdict.kind === 'stop')
            expect(facts.sinceGestureMs).toBeGreaterThanOrEqual(limits.idleTimeoutMs);
        },
      ),
    );
  });
});
