import { expect, test } from '@jest/globals';
import { admitDaemon, type Occupancy } from '../../../coordinator/domain/admission.ts';

const ready: Occupancy = { state: 'ready', pid: 1 };
const stopped: Occupancy = { state: 'stopped', pid: null };

test('zero means no limit', () => {
  expect(admitDaemon(0, Array(1000).fill(ready), 5000)).toBeUndefined();
});

test('workspaces without a process take no place', () => {
  const dormantSessions: Occupancy[] = [
    stopped,
    { state: 'backoff', pid: null },
    { state: 'failed', pid: null },
  ];
  expect(admitDaemon(2, [ready, ...dormantSessions], 5000)).toBeUndefined();
});

test('the refusal names limit, use, request and when to retry', () => {
  expect(admitDaemon(2, [ready, { state: 'starting', pid: null }, stopped], 5000)).toMatchObject({
    code: 'daemon_limit_exceeded',
    context: { limit: 2, used: 2, requested: 1, retryAfterMs: 5000 },
  });
});

test('a process that is still ending takes its place', () => {
  expect(admitDaemon(1, [{ state: 'stopping', pid: 4 }], 5000)).toBeDefined();
});

test('a process that could not be verified takes its place', () => {
  expect(admitDaemon(1, [{ state: 'failed', pid: 4 }], 5000)).toBeDefined();
});
