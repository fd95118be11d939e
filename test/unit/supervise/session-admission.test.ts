import { expect, test } from '@jest/globals';
import { SessionAdmission } from '../../../coordinator/supervise/sessions/admission.ts';
import { stays } from '../../support/fleet-fixture.ts';
import { settled } from '../../support/manual-clock.ts';

const THREAD = { isSingle: false };
const SINGLE = { isSingle: true };

/** A gate over `live` sessions; each of `idle` daemons elsewhere has as many sessions as its number says. */
function gateAt(maxTotalSessions: number, live: number, { idle = [] as number[], hasDefault = false } = {}) {
  const fix = { live, refused: [] as string[], evicted: 0, goOn: () => {} };
  const gate = new SessionAdmission({
    maxTotalSessions,
    countLive: () => fix.live,
    hasDefault: () => hasDefault,
    fleet: {
      makeSessionRoom: () => {
        const sessions = idle.shift();
        if (sessions === undefined) return undefined;
        fix.evicted += 1;
        return new Promise((resolve) => {
          fix.goOn = () => {
            fix.live -= sessions;
            resolve();
          };
        });
      },
      roomReport: () => ({ evictable: [], kept: [{ workspaceId: 'b', reason: '1 prompt(s) run or wait' }] }),
    },
    journal: { refused: (workspaceId) => void fix.refused.push(workspaceId) },
    retryAfterMs: 15_000,
  });
  return { ...fix, fix, enter: (wanted = THREAD, signal = stays) => gate.enter('a', wanted, signal) };
}

test('live sessions and creates under way count', async () => {
  const { enter, fix } = gateAt(3, 1);
  const leave = await enter();
  await enter(SINGLE);
  await expect(enter()).rejects.toMatchObject({
    code: 'session_limit_exceeded',
    retryAfterS: 15,
    context: {
      limit: 3,
      scope: 'total',
      used: 3,
      requested: 1,
      evictable: [],
      kept: [{ workspaceId: 'b', reason: '1 prompt(s) run or wait' }],
      retryAfterMs: 15_000,
    },
  });
  expect(fix.refused).toEqual(['a']);
  leave();
  leave();
  await enter();
  await expect(enter()).rejects.toMatchObject({ code: 'session_limit_exceeded' });
});

test('an attach never counts', async () => {
  const { enter } = gateAt(1, 1, { hasDefault: true });
  await enter(SINGLE);
  await expect(enter()).rejects.toMatchObject({ code: 'session_limit_exceeded' });
});

test('zero is no cap', async () => {
  await gateAt(0, 10_000).enter();
});

test('at the cap an idle daemon is put to sleep, one for however many wait', async () => {
  const { enter, fix } = gateAt(2, 2, { idle: [2, 1] });
  const both = Promise.all([enter(), enter()]);
  await settled();
  expect(fix.evicted).toBe(1);
  fix.goOn();
  await both;
  expect(fix.evicted).toBe(1);
});

test('the next idle daemon follows where one is not enough', async () => {
  const { enter, fix } = gateAt(2, 3, { idle: [1, 1] });
  const entered = enter();
  await settled();
  fix.goOn();
  await settled();
  expect(fix.evicted).toBe(2);
  fix.goOn();
  await entered;
});

test('a daemon whose end frees nothing, because it cannot be stored, is not followed by the next', async () => {
  const { enter, fix } = gateAt(1, 1, { idle: [0, 0] });
  const entered = enter();
  await settled();
  fix.goOn();
  await expect(entered).rejects.toMatchObject({ code: 'session_limit_exceeded' });
  expect(fix.evicted).toBe(1);
});

test('a client that leaves meanwhile takes no place', async () => {
  const { enter, fix } = gateAt(1, 1, { idle: [1] });
  const leaving = new AbortController();
  const entered = enter(THREAD, leaving.signal);
  await settled();
  leaving.abort(new Error('client gone'));
  await expect(entered).rejects.toThrow('client gone');
  fix.goOn();
  await settled();
  await enter();
});
