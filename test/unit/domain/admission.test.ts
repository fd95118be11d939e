import { expect, test } from '@jest/globals';
import { admitDaemon, type Occupancy } from '../../../coordinator/domain/admission.ts';

const ready: Occupancy = { state: 'ready', hasProcess: true };
const stopped: Occupancy = { state: 'stopped', hasProcess: false };

test('zero means no limit', () => {
  expect(admitDaemon(0, Array(1000).fill(ready), 5000)).toBeUndefined();
});

test('workspaces without a process take no place', () => {
  const dormantSessions: Occupancy[] = [
    stopped,
    { state: 'backoff', hasProcess: false },
    { state: 'failed', hasProcess: false },
  ];
  expect(admitDaemon(2, [ready, ...dormantSessions], 5000)).toBeUndefined();
});

test('the refusal names limit, use, request and when to retry', () => {
  expect(admitDaemon(2, [ready, { state: 'starting', hasProcess: false }, stopped], 5000)).toMatchObject({
    code: 'daemon_limit_exceeded',
    context: { limit: 2, used: 2, requested: 1, retryAfterMs: 5000 },
  });
});

test('a process that is still ending takes its place', () => {
  expect(admitDaemon(1, [{ state: 'stopping', hasProcess: true }], 5000)).toBeDefined();
});

test('a process that could not be verified takes its place', () => {
  expect(admitDaemon(1, [{ state: 'failed', hasProcess: true }], 5000)).toBeDefined();
});
