import { expect, test } from '@jest/globals';
import { Waiters } from '../../../coordinator/supervise/daemon/waiters.ts';
import type { Endpoint } from '../../../coordinator/upstream/endpoint.ts';
import { stays, WORKSPACE } from '../../support/fleet-fixture.ts';
import { ManualClock } from '../../support/manual-clock.ts';

const endpoint: Endpoint = {
  workspaceId: 'w',
  incarnation: 'w-1',
  address: { kind: 'unix', path: '/s' } as const,
  secret: 'x',
};

function fixture(maxWaiters = 10) {
  const clock = new ManualClock();
  let emptied = 0;
  const waiters = new Waiters(WORKSPACE, clock, { waiterDeadlineMs: 1000, maxWaiters }, () => {
    emptied += 1;
  });
  return { clock, waiters, emptied: () => emptied };
}

test('everybody who waits gets the endpoint, and no timer stays behind', async () => {
  const { clock, waiters } = fixture();
  const parked = [waiters.park(stays), waiters.park(stays)];
  waiters.wake(endpoint);
  expect(await Promise.all(parked)).toEqual([endpoint, endpoint]);
  expect([waiters.size, clock.pending]).toEqual([0, 0]);
});

test('a waiter leaves at its deadline with 504 and the phase', async () => {
  const { clock, waiters } = fixture();
  const parked = waiters.park(stays);
  clock.advance(1000);
  await expect(parked).rejects.toMatchObject({
    status: 504,
    code: 'init_timeout',
    context: { phase: 'daemon.start', timeoutMs: 1000 },
  });
});

test('each waiter has its own deadline', async () => {
  const { clock, waiters } = fixture();
  const first = waiters.park(stays);
  clock.advance(600);
  const second = waiters.park(stays);
  clock.advance(600);
  await expect(first).rejects.toMatchObject({ status: 504 });
  waiters.wake(endpoint);
  expect(await second).toBe(endpoint);
});

test('a client that leaves frees its place and rejects with its own reason', async () => {
  const { waiters } = fixture();
  const client = new AbortController();
  const parked = waiters.park(client.signal);
  client.abort(new Error('client gone'));
  await expect(parked).rejects.toThrow('client gone');
  expect(waiters.size).toBe(0);
});

test('the last one to leave by itself is told, a release is not', async () => {
  const { waiters, emptied } = fixture();
  const clients = [new AbortController(), new AbortController()];
  const parked = clients.map(({ signal }) => waiters.park(signal).catch(() => 'gone'));
  clients[0]?.abort();
  expect(emptied()).toBe(0);
  clients[1]?.abort();
  expect(emptied()).toBe(1);
  parked.push(waiters.park(stays).catch(() => 'failed'));
  waiters.failAll(new Error('no'));
  expect(await Promise.all(parked)).toEqual(['gone', 'gone', 'failed']);
  expect(emptied()).toBe(1);
});

test('an abort after the release changes nothing', async () => {
  const { waiters, emptied } = fixture();
  const client = new AbortController();
  const parked = waiters.park(client.signal);
  waiters.wake(endpoint);
  client.abort();
  expect(await parked).toBe(endpoint);
  expect(emptied()).toBe(0);
});

test('one more than the cap is refused at once with the limit', () => {
  const { waiters } = fixture(1);
  waiters.park(stays).catch(() => {});
  expect(() => waiters.park(stays)).toThrow(
    expect.objectContaining({ status: 503, context: expect.objectContaining({ limit: 1, used: 1 }) }),
  );
});

test('a client that has left already is not parked', () => {
  const { waiters } = fixture();
  expect(() => waiters.park(AbortSignal.abort(new Error('gone')))).toThrow('gone');
  expect(waiters.size).toBe(0);
});
