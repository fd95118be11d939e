import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import type { Store } from '../../../coordinator/store/store.ts';
import {
  anEnd,
  aPrompt,
  aSession,
  kinds,
  openTestStore,
  startDaemon,
  tempDir,
  WS,
} from './open-test-store.ts';

let closers: (() => void)[] = [];
let store: Store;

beforeEach(() => {
  const { dir, remove } = tempDir();
  ({ store } = openTestStore(dir));
  closers = [() => store.close(), remove];
});
afterEach(() => {
  for (const close of closers) close();
});

describe('workspaces', () => {
  const row = { id: WS, path: '/p', displayName: null, origin: 'dynamic', createdAtMs: 5 } as const;

  test('a known workspace keeps its creation time and takes a new origin and name', () => {
    store.workspaces.upsert(row);
    store.workspaces.upsert({ ...row, origin: 'static', displayName: 'P', createdAtMs: 99 });
    expect(store.workspaces.list()).toEqual([{ ...row, origin: 'static', displayName: 'P' }]);
  });

  test('an upsert that changes nothing leaves no event', () => {
    store.workspaces.upsert(row);
    store.workspaces.upsert(row);
    expect(kinds(store)).toEqual(['workspace_added']);
  });

  test('a removed workspace is gone while its daemons keep their rows and their count', () => {
    store.workspaces.upsert(row);
    startDaemon(store);
    store.workspaces.remove(WS);
    store.workspaces.remove(WS);
    expect(store.workspaces.list()).toEqual([]);
    expect(startDaemon(store)).toBe(`${WS}-2`);
    expect(kinds(store).filter((kind) => kind === 'workspace_removed')).toHaveLength(1);
  });
});

describe('daemons', () => {
  test('incarnations count up for ever, each workspace by itself', () => {
    const next = () => store.daemons.nextIncarnation(WS);
    expect([next(), next(), store.daemons.nextIncarnation('f'.repeat(16))]).toEqual([
      `${WS}-1`,
      `${WS}-2`,
      `${'f'.repeat(16)}-1`,
    ]);
  });

  test('only a start that was recorded counts as a start', () => {
    store.daemons.nextIncarnation(WS);
    startDaemon(store);
    expect(store.daemons.countStarts(WS)).toBe(1);
    expect(store.daemons.countStarts('unknown')).toBe(0);
  });

  test('a daemon goes from starting over its launch to ready to ended, and each step has its event', () => {
    const incarnation = startDaemon(store);
    expect(store.daemons.latest(WS)).toMatchObject({ state: 'starting', address: null, secret: 's3cret' });
    store.daemons.setLaunched(incarnation, 'the handle that was found', { pid: 4711 });
    const launchHandle = 'the handle that was found';
    expect(store.daemons.latest(WS)).toMatchObject({ state: 'starting', launchHandle, address: null });
    expect(store.events.recent({ limit: 1 })).toMatchObject([
      { kind: 'daemon_spawned', detail: { pid: 4711 } },
    ]);
    const ready = { version: '1.2.3', address: 'where it answers', secret: 's3cret and more' };
    store.daemons.setReady(incarnation, ready);
    expect(store.daemons.unended()).toMatchObject([{ state: 'ready', launchHandle, ...ready }]);
    store.daemons.setEnded(incarnation, anEnd);
    expect(store.daemons.unended()).toEqual([]);
    expect(store.daemons.latest(WS)).toMatchObject({
      state: 'ended',
      exitCode: 1,
      endReason: 'crashed',
      endedAtMs: 500,
    });
    expect(kinds(store)).toEqual(['daemon_ended', 'daemon_ready', 'daemon_spawned', 'daemon_starting']);
  });

  test('the secret of an ended daemon is forgotten', () => {
    store.daemons.setEnded(startDaemon(store), anEnd);
    expect(store.daemons.latest(WS)?.secret).toBe('');
  });

  test('a late report cannot revive an ended daemon', () => {
    const incarnation = startDaemon(store);
    store.daemons.setEnded(incarnation, anEnd);
    store.daemons.setLaunched(incarnation, 'late', {});
    store.daemons.setReady(incarnation, { version: 'late', address: 'late', secret: 'late' });
    expect(store.daemons.setEnded(incarnation, { ...anEnd, reason: 'again' })).toEqual([]);
    expect(store.daemons.latest(WS)).toMatchObject({
      state: 'ended',
      address: null,
      secret: '',
      endReason: 'crashed',
    });
    expect(kinds(store)).toEqual(['daemon_ended', 'daemon_starting']);
  });

  test('the end of a daemon closes its sessions and no others, and settles their prompts', () => {
    const first = startDaemon(store);
    const other = startDaemon(store, 'f'.repeat(16));
    store.sessions.record(WS, first, aSession('s1'));
    store.sessions.record('f'.repeat(16), other, aSession('s2'));
    store.prompts.record(aPrompt('p1', { state: 'running' }));
    expect(store.daemons.setEnded(first, anEnd)).toEqual([{ sessionId: 's1', state: 'closed' }]);
    expect(store.sessions.get('s1')).toMatchObject({
      state: 'closed',
      endReason: 'daemon_died',
      endedAtMs: 500,
    });
    expect(store.sessions.get('s2')?.state).toBe('live');
    expect(store.prompts.get('p1')).toMatchObject({ state: 'failed', outcome: 'daemon_died' });
  });
});

describe('sessions', () => {
  test('a session is stored with everything that the feed says, and its clients', () => {
    const incarnation = startDaemon(store);
    const clients = [{ clientId: 'c1', count: 2, lastSeenAtMs: 21 }];
    const named = { displayName: 'Fix it', sourceType: 'ide', sourceId: 'x', isDefault: true, clients };
    store.sessions.record(WS, incarnation, aSession('s1', named));
    expect(store.sessions.get('s1')).toEqual({
      sessionId: 's1',
      workspaceId: WS,
      incarnation,
      state: 'live',
      createdAtMs: 10,
      lastSeenAtMs: 20,
      displayName: 'Fix it',
      sourceType: 'ide',
      sourceId: 'x',
      shelf: 'active',
      isDefault: true,
      eventHead: 0,
      endedAtMs: null,
      endReason: null,
    });
    expect(store.sessions.clients('s1')).toEqual(clients);
  });

  test('a new record replaces the clients as a whole and is no event', () => {
    const incarnation = startDaemon(store);
    const client = (clientId: string) => ({ clientId, count: 1, lastSeenAtMs: 1 });
    store.sessions.record(WS, incarnation, aSession('s1', { clients: [client('a'), client('b')] }));
    store.sessions.record(WS, incarnation, aSession('s1', { clients: [client('b'), client('c')] }));
    expect(store.sessions.clients('s1').map(({ clientId }) => clientId)).toEqual(['b', 'c']);
    expect(kinds(store)).toEqual(['session_opened', 'daemon_starting']);
  });

  test('a UUID in capitals is found, and rests, under either spelling; other ids are told apart by case', () => {
    const incarnation = startDaemon(store);
    const capitals = 'E621E1F8-C36C-495A-93FC-0C247A3E6E5F';
    for (const id of [capitals, 'abc', 'ABC']) store.sessions.record(WS, incarnation, aSession(id));
    expect(store.sessions.get(capitals.toLowerCase())?.sessionId).toBe(capitals);
    store.sessions.rest(capitals.toLowerCase(), 'dormant', 30, 'idle_timeout');
    expect(store.sessions.get(capitals)?.state).toBe('dormant');
    expect(['abc', 'ABC'].map((id) => store.sessions.get(id)?.sessionId)).toEqual(['abc', 'ABC']);
  });

  test('live sessions are listed and counted by workspace and overall, closed ones are not', () => {
    const here = startDaemon(store);
    const there = startDaemon(store, 'f'.repeat(16));
    store.sessions.record(WS, here, aSession('s1'));
    store.sessions.record(WS, here, aSession('s2', { createdAtMs: 5 }));
    store.sessions.record('f'.repeat(16), there, aSession('s3'));
    store.sessions.rest('s3', 'closed', 30, 'client_close');
    expect(store.sessions.live().map(({ sessionId }) => sessionId)).toEqual(['s2', 's1']);
    expect(store.sessions.live('f'.repeat(16))).toEqual([]);
    expect([store.sessions.countLive(), store.sessions.countLive(WS)]).toEqual([2, 2]);
  });

  test('closing twice, or a session that was never seen, changes nothing', () => {
    store.sessions.record(WS, startDaemon(store), aSession('s1'));
    store.sessions.rest('s1', 'closed', 30, 'first');
    store.sessions.rest('s1', 'closed', 40, 'second');
    store.sessions.rest('unknown', 'closed', 40, 'second');
    expect(store.sessions.get('s1')).toMatchObject({ endReason: 'first', endedAtMs: 30 });
    expect(kinds(store).filter((kind) => kind === 'session_closed')).toHaveLength(1);
  });

  test('a closed session stands in the list as its daemon said last, and as active once it lives again', () => {
    const incarnation = startDaemon(store);
    for (const id of ['s1', 's2', 's3']) store.sessions.record(WS, incarnation, aSession(id));
    for (const id of ['s1', 's2']) store.sessions.rest(id, 'closed', 30, 'client_close');
    const listed = () => store.sessions.newest(WS, 9).map(({ sessionId, shelf }) => [sessionId, shelf]);
    store.sessions.shelve({ sessionId: 's1', shelf: 'archived', displayName: 'kept' });
    for (const id of ['s2', 's3', 'unknown']) store.sessions.shelve({ sessionId: id, shelf: 'gone' });
    expect(listed().sort()).toEqual([
      ['s1', 'archived'],
      ['s3', 'gone'],
    ]);
    expect(store.sessions.get('s1')?.displayName).toBe('kept');
    for (const id of ['s1', 's2']) store.sessions.record(WS, incarnation, aSession(id));
    expect(store.sessions.get('s1')?.shelf).toBe('active');
    expect(listed()).toHaveLength(3);
  });

  test('a closed session that a later daemon loads is live again, with the time of its first creation', () => {
    store.sessions.record(WS, startDaemon(store), aSession('s1', { createdAtMs: 10 }));
    store.sessions.rest('s1', 'closed', 30, 'idle_timeout');
    const later = startDaemon(store);
    store.sessions.record(WS, later, aSession('s1', { createdAtMs: 700 }));
    expect(store.sessions.get('s1')).toMatchObject({
      state: 'live',
      incarnation: later,
      createdAtMs: 10,
      endReason: null,
    });
    expect(kinds(store)[0]).toBe('session_reopened');
  });

  test('a session whose daemon has ended meanwhile is stored, but closed', () => {
    const incarnation = startDaemon(store);
    store.daemons.setEnded(incarnation, anEnd);
    store.sessions.record(WS, incarnation, aSession('s1'));
    expect(store.sessions.get('s1')).toMatchObject({ state: 'closed', endReason: 'daemon_ended' });
  });

  test('a session whose daemon has ended meanwhile sleeps where the agent can load it', () => {
    const incarnation = startDaemon(store);
    store.daemons.setCanLoad(incarnation, true);
    store.daemons.setEnded(incarnation, anEnd);
    expect(store.sessions.record(WS, incarnation, aSession('s1'))).toBe('dormant');
    expect(store.sessions.get('s1')).toMatchObject({ state: 'dormant', endReason: 'daemon_ended' });
  });

  test('a late record of an ended daemon does not take a session away from its successor', () => {
    const ended = startDaemon(store);
    store.sessions.record(WS, ended, aSession('s1'));
    store.daemons.setEnded(ended, anEnd);
    const successor = startDaemon(store);
    store.sessions.record(WS, successor, aSession('s1'));
    store.sessions.record(WS, ended, aSession('s1', { displayName: 'stale' }));
    expect(store.sessions.get('s1')).toMatchObject({
      state: 'live',
      incarnation: successor,
      displayName: null,
    });
  });

  test('a session of a daemon without a row is refused', () => {
    expect(() => store.sessions.record(WS, 'never-started-1', aSession('s1'))).toThrow(/FOREIGN KEY/);
    expect(store.sessions.get('s1')).toBeUndefined();
  });
});

describe('prompts', () => {
  beforeEach(() => void store.sessions.record(WS, startDaemon(store), aSession('s1')));

  test('a prompt moves from queued over running to settled and never back', () => {
    store.prompts.record(aPrompt('p1', { atMs: 100 }));
    store.prompts.record(aPrompt('p1', { state: 'running', atMs: 110 }));
    store.prompts.record(aPrompt('p1', { state: 'queued', atMs: 115 }));
    expect(store.prompts.unsettled('s1')).toMatchObject([{ state: 'running', admittedAtMs: 100 }]);
    store.prompts.record(aPrompt('p1', { state: 'completed', atMs: 120, outcome: 'end_turn' }));
    store.prompts.record(aPrompt('p1', { state: 'failed', atMs: 130, outcome: 'late' }));
    expect(store.prompts.get('p1')).toEqual({
      promptId: 'p1',
      sessionId: 's1',
      state: 'completed',
      admittedAtMs: 100,
      settledAtMs: 120,
      outcome: 'end_turn',
    });
    expect(kinds(store).slice(0, 3)).toEqual(['prompt_completed', 'prompt_running', 'prompt_queued']);
  });

  test('closing a session settles its open prompts as failed with the reason, or session_closed without one', () => {
    store.prompts.record(aPrompt('p1', { state: 'completed', outcome: 'end_turn' }));
    store.prompts.record(aPrompt('p2', { state: 'running' }));
    store.sessions.rest('s1', 'closed', 300, '');
    expect(store.prompts.get('p1')?.outcome).toBe('end_turn');
    expect(store.prompts.get('p2')).toMatchObject({
      state: 'failed',
      outcome: 'session_closed',
      settledAtMs: 300,
    });
    expect(store.prompts.unsettled('s1')).toEqual([]);
  });

  test('a prompt that is first heard of after its session closed is settled at once', () => {
    store.sessions.rest('s1', 'closed', 300, 'idle_timeout');
    store.prompts.record(aPrompt('p1', { state: 'running' }));
    expect(store.prompts.get('p1')).toMatchObject({ state: 'failed', outcome: 'idle_timeout' });
  });

  test('a prompt of a session that was never seen is kept all the same', () => {
    store.prompts.record(aPrompt('p1', { sessionId: 'short-lived', state: 'failed', outcome: 'x' }));
    expect(store.prompts.get('p1')).toMatchObject({ sessionId: 'short-lived', outcome: 'x' });
  });
});

describe('heartbeats', () => {
  const client = { clientId: 'c1', count: 1, lastSeenAtMs: 20 };
  beforeEach(() => void store.sessions.record(WS, startDaemon(store), aSession('s1', { clients: [client] })));
  const seen = (clientId: string | null, atMs: number, sessionId = 's1') => ({ sessionId, clientId, atMs });

  test('a heartbeat moves the last-seen time of its client and session on, never back', () => {
    expect(store.heartbeats.flush([seen('c1', 90), seen(null, 95)], 500)).toBe(0);
    store.heartbeats.flush([seen('c1', 50)], 500);
    expect(store.sessions.clients('s1')).toEqual([{ ...client, lastSeenAtMs: 90 }]);
    expect(store.sessions.get('s1')?.lastSeenAtMs).toBe(95);
  });

  test('at most maxRows are written, first in key order, and the rest is counted', () => {
    store.sessions.record(WS, startDaemon(store), aSession('s0'));
    expect(store.heartbeats.flush([seen('c1', 90), seen(null, 80), seen(null, 70, 's0')], 2)).toBe(1);
    expect(store.sessions.get('s0')?.lastSeenAtMs).toBe(70);
    expect(store.sessions.get('s1')?.lastSeenAtMs).toBe(80);
    expect(store.heartbeats.flush([], 500)).toBe(0);
  });

  test('the heartbeat of a client that detached, or of a closed session, leaves nothing behind', () => {
    store.heartbeats.flush([seen('c1', 90)], 500);
    store.sessions.record(WS, startDaemon(store), aSession('s1', { clients: [] }));
    expect(store.sessions.get('s1')?.lastSeenAtMs).toBe(20);
    store.sessions.rest('s1', 'closed', 100, 'x');
    store.heartbeats.flush([seen(null, 200)], 500);
    expect(store.sessions.get('s1')?.lastSeenAtMs).toBe(20);
  });

  test('heartbeats are no events', () => {
    const before = kinds(store).length;
    store.heartbeats.flush([seen('c1', 90)], 500);
    expect(kinds(store)).toHaveLength(before);
  });
});
