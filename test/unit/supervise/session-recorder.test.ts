import { describe, expect, test } from '@jest/globals';
import { createSessionRecorder } from '../../../coordinator/supervise/records/session-recorder.ts';
import type { FeedBody, FeedRecord } from '../../../daemon/contract/feed.ts';
import { FakeStore } from '../../support/fake-store.ts';
import { sessionOf, silentLog, snapshotOf } from '../../support/fleet-fixture.ts';
import { ManualClock } from '../../support/manual-clock.ts';

const source = { workspaceId: 'ws', incarnation: 'ws-1' };

function fixture(seenBatchRows = 500) {
  const store = new FakeStore();
  store.addDaemon({ ...source });
  const recorder = createSessionRecorder({
    store,
    clock: new ManualClock(),
    log: silentLog,
    settings: { seenBatchRows },
  });
  const apply = (body: FeedBody) => recorder.apply(source, { ...body, seq: 1 } as FeedRecord);
  return { store, recorder, apply };
}

describe('a session', () => {
  test('is in the store and the index once its record was applied', () => {
    const { store, recorder, apply } = fixture();
    apply({ type: 'session', session: sessionOf('s1') });
    expect(store.sessions.get('s1')).toMatchObject({ state: 'live', ...source });
    expect(recorder.find('s1')?.workspaceId).toBe('ws');
  });

  test('leaves the index when it ends, and keeps its row with the reason', () => {
    const { store, recorder, apply } = fixture();
    apply({ type: 'session', session: sessionOf('s1') });
    apply({ type: 'session_ended', ended: { sessionId: 's1', reason: 'client_close', atMs: 9 } });
    expect(recorder.find('s1')?.workspaceId).toBeUndefined();
    expect(store.sessions.get('s1')).toMatchObject({
      state: 'closed',
      endReason: 'client_close',
      endedAtMs: 9,
    });
  });

  test('sleeps through its idle timeout where only an earlier coordinator heard that its agent can load', () => {
    const { store, recorder, apply } = fixture();
    store.daemons.setCanLoad(source.incarnation, true);
    apply({ type: 'session', session: sessionOf('s1') });
    apply({ type: 'session_ended', ended: { sessionId: 's1', reason: 'idle_timeout', atMs: 9 } });
    expect(recorder.find('s1')?.state).toBe('dormant');
  });

  test('that the store refuses is not in the index either', () => {
    const { store, recorder, apply } = fixture();
    store.refused.add('sessions.record');
    expect(() => apply({ type: 'session', session: sessionOf('s1') })).toThrow(
      expect.objectContaining({ status: 507 }),
    );
    expect(recorder.find('s1')?.workspaceId).toBeUndefined();
  });

  test.each([
    [true, 'dormant'],
    [false, undefined],
  ])(
    'of a daemon that ended before it was recorded is live nowhere (its agent can load: %s)',
    (canLoad, state) => {
      const { store, recorder } = fixture();
      store.daemons.setCanLoad(source.incarnation, canLoad);
      const end = { atMs: 1, code: null, signal: 'SIGKILL', reason: 'killed', kind: 'died' } as const;
      store.daemons.setEnded(source.incarnation, end);
      recorder.recordSession(source, sessionOf('s1'));
      expect(recorder.find('s1')?.state).toBe(state);
    },
  );

  test('of an earlier coordinator is in the index from the start', () => {
    const { store } = fixture();
    store.sessions.record('ws', 'ws-1', sessionOf('old'));
    const recorder = createSessionRecorder({
      store,
      clock: new ManualClock(),
      log: silentLog,
      settings: { seenBatchRows: 1 },
    });
    expect(recorder.find('old')?.workspaceId).toBe('ws');
  });

  test('is found by its UUID in either case', () => {
    const { recorder, apply } = fixture();
    apply({ type: 'session', session: sessionOf('0a0a0a0a-1111-4222-8333-444444444444') });
    expect(recorder.find('0A0A0A0A-1111-4222-8333-444444444444')?.workspaceId).toBe('ws');
  });
});

describe('a snapshot', () => {
  test('brings in sessions without a row, with their prompts', () => {
    const { store, recorder, apply } = fixture();
    const prompt = { promptId: 'p', sessionId: 's1', state: 'running', atMs: 1 } as const;
    apply(snapshotOf('ws-1', { sessions: [sessionOf('s1')], prompts: [prompt] }));
    expect(recorder.find('s1')?.workspaceId).toBe('ws');
    expect(store.prompts.unsettled('s1')).toHaveLength(1);
  });

  test('closes live rows of the incarnation that it lacks, with its reason or as unknown', () => {
    const { store, recorder, apply } = fixture();
    for (const id of ['kept', 'told', 'untold']) apply({ type: 'session', session: sessionOf(id) });
    const ended = [{ sessionId: 'told', reason: 'idle_timeout', atMs: 77 }];
    apply(snapshotOf('ws-1', { sessions: [sessionOf('kept')], ended }));
    expect(store.sessions.get('told')).toMatchObject({
      state: 'closed',
      endReason: 'idle_timeout',
      endedAtMs: 77,
    });
    expect(store.sessions.get('untold')).toMatchObject({ state: 'closed', endReason: 'unknown_end' });
    expect(store.sessions.get('kept')?.state).toBe('live');
    expect(['kept', 'told', 'untold'].map((id) => recorder.find(id)?.workspaceId)).toEqual([
      'ws',
      undefined,
      undefined,
    ]);
  });

  test('leaves the sessions of other incarnations alone', () => {
    const { store, apply } = fixture();
    store.addDaemon({ incarnation: 'ws-0', workspaceId: 'ws' });
    store.addDaemon({ incarnation: 'else-1', workspaceId: 'else' });
    store.sessions.record('ws', 'ws-0', sessionOf('other'));
    store.sessions.record('else', 'else-1', sessionOf('elsewhere'));
    apply(snapshotOf('ws-1'));
    expect(store.sessions.countLive()).toBe(2);
  });

  test('that the store refuses changes nothing in the index', () => {
    const { store, recorder, apply } = fixture();
    apply({ type: 'session', session: sessionOf('s1') });
    store.refused.add('sessions.rest');
    expect(() => apply(snapshotOf('ws-1'))).toThrow();
    expect(recorder.find('s1')?.workspaceId).toBe('ws');
  });
});

describe('heartbeats', () => {
  const seen = (atMs: number, ...ids: readonly string[]): FeedBody => ({
    type: 'seen',
    seen: ids.map((sessionId) => ({ sessionId, clientId: 'c', atMs })),
  });

  test('are coalesced to the newest of each client and written in key order', async () => {
    const { store, recorder, apply } = fixture();
    apply(seen(5, 'b', 'a'));
    apply(seen(9, 'a'));
    apply(seen(3, 'b'));
    await recorder.flushSeen();
    expect(store.seenBatches).toEqual([
      [
        { sessionId: 'a', clientId: 'c', atMs: 9 },
        { sessionId: 'b', clientId: 'c', atMs: 5 },
      ],
    ]);
  });

  test('tell the anonymous watermark from a client', async () => {
    const { store, recorder, apply } = fixture();
    apply({ type: 'seen', seen: [{ sessionId: 'a', clientId: null, atMs: 1 }] });
    apply(seen(2, 'a'));
    await recorder.flushSeen();
    expect(store.seenBatches[0]).toHaveLength(2);
  });

  test('go in batches, and other work gets its turn between two of them', async () => {
    const { store, recorder, apply } = fixture(2);
    apply(seen(1, 'a', 'b', 'c', 'd', 'e'));
    const flush = recorder.flushSeen();
    expect(store.seenBatches).toHaveLength(1);
    await flush;
    expect(store.seenBatches.map((batch) => batch.length)).toEqual([2, 2, 1]);
  });

  test('that the store refused are written by a later flush', async () => {
    const { store, recorder, apply } = fixture();
    apply(seen(1, 'a'));
    store.refused.add('heartbeats.flush');
    await recorder.flushSeen();
    store.refused.clear();
    await recorder.flushSeen();
    expect(store.seenBatches).toEqual([[{ sessionId: 'a', clientId: 'c', atMs: 1 }]]);
  });

  test('that there are none of write nothing', async () => {
    const { store, recorder } = fixture();
    await recorder.flushSeen();
    expect(store.seenBatches).toEqual([]);
  });
});

test('an agent that ended leaves an event, without what is secret of its daemon', () => {
  const { store, recorder } = fixture();
  const endpoint = { ...source, address: { kind: 'unix', path: '/s' } as const, secret: 'hidden' };
  const exit = { code: 1, signal: null, sessions: 2 };
  recorder.apply(endpoint, { type: 'agent', agent: null, exit, seq: 1 });
  expect(store.eventRows.at(-1)).toMatchObject({ kind: 'agent_exited', workspaceId: 'ws', detail: exit });
  expect(JSON.stringify(store.eventRows)).not.toContain('hidden');
});
