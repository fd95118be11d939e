import { afterEach, describe, expect, test } from '@jest/globals';
import { fail } from '../../../daemon/contract/errors.ts';
import { Closers, send } from './fake-daemon.ts';
import { stage } from './listener-kit.ts';

const closers = new Closers();
afterEach(() => closers.run());

/** A stage whose daemon answers with the path that it was asked for, and one session `s-1` in the primary workspace. */
async function withSession(state: 'live' | 'restoring' | 'dormant') {
  const on = await stage(closers, (req, res) => res.end(JSON.stringify({ reached: req.url })));
  on.index.set('s-1', on.a.id);
  if (state !== 'live') on.withoutDaemon.set('s-1', state);
  return on;
}

describe('the cap on all sessions together', () => {
  test.each([
    ['/session', 1],
    ['/session/s-1/branch', 1],
    ['/session/s-1/branch/', 1],
    ['/session/s-1/load', 0],
    ['/session/s-1/resume?snapshot=1', 0],
    ['/session/unknown/load', 1],
  ])('while s-1 is live, POST %s takes %d place(s)', async (path, places) => {
    const on = await withSession('live');
    on.ready.set(on.a.id, { ...on.daemon.endpoint, workspaceId: on.a.id });
    await send(on.port, path, { method: 'POST' });
    expect(on.admitted).toHaveLength(places);
  });
});

describe('a session that sleeps', () => {
  test.each(['prompt', 'model', 'approval-mode', 'continue'])(
    'is woken by a %s, which then goes on',
    async (action) => {
      const on = await withSession('dormant');
      const answer = await send(on.port, `/session/s-1/${action}`, { method: 'POST' });
      expect(JSON.parse(answer.body)).toEqual({ reached: `/session/s-1/${action}` });
      expect(on.wokenSessions).toEqual(['s-1']);
    },
  );

  test.each([
    ['GET', 'events'],
    ['POST', 'heartbeat'],
    ['POST', 'permission/r-1'],
    ['GET', 'pending-prompts'],
  ])('is not woken by %s %s', async (method, action) => {
    const on = await withSession('dormant');
    const answer = await send(on.port, `/session/s-1/${action}`, { method });
    expect([answer.status, JSON.parse(answer.body)]).toEqual([
      404,
      expect.objectContaining({ code: 'session_not_found', dormant: true }),
    ]);
    expect(on.wokenSessions).toEqual([]);
  });

  test.each(['detach', 'cancel'])('has nothing left to %s', async (action) => {
    const on = await withSession('dormant');
    expect((await send(on.port, `/session/s-1/${action}`, { method: 'POST' })).status).toBe(204);
    expect(on.wokenSessions).toEqual([]);
  });

  test('is closed where it rests', async () => {
    const on = await withSession('dormant');
    expect((await send(on.port, '/session/s-1', { method: 'DELETE' })).status).toBe(204);
    expect(on.closedWithoutDaemon).toEqual(['s-1']);
  });

  test('in the single slot is woken by a create', async () => {
    const on = await withSession('dormant');
    on.slotSleeper = () => 's-1';
    await send(on.port, '/session', { method: 'POST' });
    expect(on.wokenSessions).toEqual(['s-1']);
  });

  test('is left alone by a create of a thread', async () => {
    const on = await withSession('dormant');
    on.slotSleeper = () => 's-1';
    const headers = { 'content-type': 'application/json' };
    await send(on.port, '/session', { method: 'POST', headers, body: '{"sessionScope":"thread"}' });
    expect(on.wokenSessions).toEqual([]);
  });
});

describe('a session that is coming back', () => {
  test.each(['events', 'status'])('is waited for by %s', async (action) => {
    const on = await withSession('restoring');
    const waited: string[] = [];
    on.awaited = (sessionId) => {
      waited.push(sessionId);
      on.withoutDaemon.delete(sessionId);
      return Promise.resolve();
    };
    const answer = await send(on.port, `/session/s-1/${action}`);
    expect(JSON.parse(answer.body)).toEqual({ reached: `/session/s-1/${action}` });
    expect(waited).toEqual(['s-1']);
    expect(on.wokenSessions).toEqual([]);
  });

  test('is not asked of a daemon that does not have it yet: its 404 would mean the end', async () => {
    const on = await withSession('restoring');
    on.awaited = () => Promise.resolve();
    const answer = await send(on.port, '/session/s-1/heartbeat', { method: 'POST' });
    expect([answer.status, answer.headers['retry-after']]).toEqual([503, '1']);
    expect(JSON.parse(answer.body)).toMatchObject({ code: 'workspace_runtime_unavailable' });
  });

  test('is closed where it comes back', async () => {
    const on = await withSession('restoring');
    on.restoresUnderWay.add('s-1');
    on.awaited = () => {
      on.withoutDaemon.delete('s-1');
      return Promise.resolve();
    };
    const answer = await send(on.port, '/session/s-1', { method: 'DELETE' });
    expect(JSON.parse(answer.body)).toEqual({ reached: '/session/s-1' });
    expect(on.closedWithoutDaemon).toEqual([]);
  });

  test('is closed at rest after all when it does not come back', async () => {
    const on = await withSession('restoring');
    on.restoresUnderWay.add('s-1');
    on.awaited = () => {
      on.restoresUnderWay.clear();
      return Promise.reject(fail('workspace_runtime_unavailable', 'it crashed'));
    };
    expect((await send(on.port, '/session/s-1', { method: 'DELETE' })).status).toBe(204);
    expect(on.closedWithoutDaemon).toEqual(['s-1']);
  });

  test('and does not come in time is 503 with Retry-After', async () => {
    const on = await withSession('restoring');
    on.awaited = () => Promise.reject(fail('workspace_runtime_unavailable', 'not yet'));
    const answer = await send(on.port, '/session/s-1/heartbeat', { method: 'POST' });
    expect(answer.status).toBe(503);
    expect(answer.headers['retry-after']).toBe('1');
  });
});

describe('while the store takes nothing of what the daemon tells', () => {
  test('a prompt is refused before it begins, and everything else passes', async () => {
    const on = await withSession('live');
    on.storeRefusal = fail('storage_unavailable', 'disk full', { sqliteCode: 'SQLITE_FULL' });
    const refused = await send(on.port, '/session/s-1/prompt', { method: 'POST' });
    expect([refused.status, JSON.parse(refused.body)]).toEqual([
      507,
      expect.objectContaining({ code: 'storage_unavailable', sqliteCode: 'SQLITE_FULL' }),
    ]);
    expect((await send(on.port, '/session/s-1/cancel', { method: 'POST' })).status).toBe(200);
    on.storeRefusal = undefined;
    expect((await send(on.port, '/session/s-1/prompt', { method: 'POST' })).status).toBe(200);
  });
});

describe('a workspace that is drained', () => {
  test.each([
    ['POST', '/session'],
    ['POST', '/session/s-1/prompt'],
    ['POST', '/session/s-1/load'],
  ])('refuses %s %s', async (method, path) => {
    const on = await withSession('live');
    on.drainReasonOf = () => 'maintenance';
    const answer = await send(on.port, path, { method });
    expect([answer.status, JSON.parse(answer.body)]).toEqual([
      503,
      expect.objectContaining({ code: 'workspace_draining', reason: 'maintenance' }),
    ]);
    expect(answer.headers['retry-after']).toBeDefined();
  });

  test.each([
    ['POST', 'cancel'],
    ['POST', 'heartbeat'],
    ['POST', 'permission/r-1'],
    ['GET', 'events'],
    ['GET', 'status'],
    ['POST', 'detach'],
  ])('lets %s %s pass', async (method, action) => {
    const on = await withSession('live');
    on.drainReasonOf = () => 'maintenance';
    expect((await send(on.port, `/session/s-1/${action}`, { method })).status).toBe(200);
  });
});
