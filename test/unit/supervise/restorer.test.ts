import { describe, expect, test } from '@jest/globals';
import { createEventJournal } from '../../../coordinator/supervise/records/event-journal.ts';
import { createSessionRecorder } from '../../../coordinator/supervise/records/session-recorder.ts';
import { RestorableWorkspaces } from '../../../coordinator/supervise/restorable-workspaces.ts';
import { RestoreRecord } from '../../../coordinator/supervise/sessions/restore-record.ts';
import { restoreWithRetry } from '../../../coordinator/supervise/sessions/restore-retry.ts';
import { Restorer } from '../../../coordinator/supervise/sessions/restorer.ts';
import { SessionRestore } from '../../../coordinator/supervise/sessions/session-restore.ts';
import { ID_FLOOR_GAP, type RestoreRequest } from '../../../daemon/contract/control.ts';
import { fail } from '../../../daemon/contract/errors.ts';
import { FakeStore } from '../../support/fake-store.ts';
import { OTHER_WORKSPACE, sessionOf, silentLog, stays, WORKSPACE } from '../../support/fleet-fixture.ts';
import { ManualClock, pass, settled } from '../../support/manual-clock.ts';

interface Call {
  readonly request: RestoreRequest;
  readonly answer: () => void;
  readonly refuse: (error: unknown) => void;
}

/** A store with sessions of a dead daemon, and a daemon whose answers the test gives. */
function fixture(restoreConcurrency = 2) {
  const store = new FakeStore();
  const clock = new ManualClock();
  const [before, now] = [1, 2].map((n) => `${WORKSPACE.id}-${n}`) as [string, string];
  for (const incarnation of [before, now]) store.addDaemon({ incarnation, workspaceId: WORKSPACE.id });
  const endpoint = {
    workspaceId: WORKSPACE.id,
    incarnation: now,
    address: { kind: 'unix', path: '/s' } as const,
    secret: 'x',
  };
  const recorder = createSessionRecorder({ store, clock, log: silentLog, settings: { seenBatchRows: 10 } });
  const calls: Call[] = [];
  let admit = (_workspaceId: string): Promise<() => void> => Promise.resolve(() => undefined);
  let ensureReady = () => Promise.resolve(endpoint);
  const restorable = new RestorableWorkspaces();
  const journal = createEventJournal({ store, clock, log: silentLog });
  const record = new RestoreRecord({ store, recorder, journal, clock, log: silentLog });
  const settings = { restoreConcurrency, restoreTimeoutMs: 60_000, restoreWaitMs: 1000 };
  const restore = new SessionRestore({
    store,
    recorder,
    record,
    admission: { enter: (workspaceId) => admit(workspaceId) },
    fleet: { ensureReady: () => ensureReady(), stored: () => Promise.resolve(false) },
    workspaceById: (id) => [WORKSPACE, OTHER_WORKSPACE].find((workspace) => workspace.id === id),
    restoreOn: (_endpoint, request) =>
      new Promise((resolve, reject) => {
        const { sessionId } = request;
        calls.push({ request, answer: () => resolve({ sessionId, feedSeq: 1 }), refuse: reject });
      }),
    settings,
  });
  const restorer = new Restorer({
    store,
    recorder,
    restorable,
    restore: (session, signal) => restoreWithRetry({ restore, clock, log: silentLog }, session, signal),
    record,
    clock,
    random: () => 0.5,
    settings,
  });
  const lose = (sessionId: string, state: 'restoring' | 'dormant') => {
    recorder.recordSession({ workspaceId: WORKSPACE.id, incarnation: before }, sessionOf(sessionId));
    recorder.rest(sessionId, state, 'daemon_died');
  };
  const serveWith = (incarnation: string) => {
    ensureReady = () => Promise.resolve({ ...endpoint, incarnation });
  };
  const admitWith = (next: typeof admit) => {
    admit = next;
  };
  const failStarts = (error: unknown) => {
    ensureReady = () => Promise.reject(error);
  };
  return { store, clock, recorder, restorable, restorer, calls, lose, failStarts, serveWith, admitWith, now };
}

const stateOf = ({ store }: { store: FakeStore }, sessionId: string) => store.sessions.get(sessionId)?.state;

describe('sessions of a daemon that died', () => {
  test('come back by themselves, a few at a time, and are live in the new incarnation', async () => {
    const fix = fixture(2);
    for (const id of ['a', 'b', 'c']) fix.lose(id, 'restoring');
    fix.restorable.add(WORKSPACE.id);
    await settled();
    expect(fix.calls).toHaveLength(2);
    fix.calls[0]?.answer();
    await settled();
    expect(fix.calls).toHaveLength(3);
    for (const call of fix.calls) call.answer();
    await settled();
    expect(['a', 'b', 'c'].map((id) => stateOf(fix, id))).toEqual(['live', 'live', 'live']);
    expect(fix.store.sessions.get('a')?.incarnation).toBe(fix.now);
  });

  test('come back with their clients, above every id that was ever told, and with their lost prompts', async () => {
    const fix = fixture();
    fix.lose('a', 'restoring');
    fix.store.sessions.setHead('a', 5000);
    fix.store.prompts.record({ promptId: 'p', sessionId: 'a', state: 'running', atMs: 1 });
    fix.restorable.add(WORKSPACE.id);
    await settled();
    expect(fix.calls[0]?.request).toMatchObject({
      sessionId: 'a',
      idFloor: 5000 + ID_FLOOR_GAP,
      clients: [{ clientId: 'c1', count: 1 }],
      lostPrompts: ['p'],
    });
    expect(fix.store.prompts.get('p')?.settledAtMs).toBeNull();
    fix.calls[0]?.answer();
    await settled();
    expect(fix.store.prompts.get('p')).toMatchObject({ state: 'failed', outcome: 'daemon_restarted' });
  });

  test('that an earlier coordinator had not finished with are resumed', async () => {
    const fix = fixture();
    fix.lose('a', 'restoring');
    fix.lose('asleep', 'dormant');
    fix.restorer.resume();
    await settled();
    expect(fix.calls).toEqual([]);
    await pass(fix.clock, 250);
    expect(fix.calls.map(({ request }) => request.sessionId)).toEqual(['a']);
  });

  test('are closed when the agent does not know them any more', async () => {
    const fix = fixture();
    fix.lose('a', 'restoring');
    fix.restorable.add(WORKSPACE.id);
    await settled();
    fix.calls[0]?.refuse(fail('session_not_found', 'gone'));
    await settled();
    expect(stateOf(fix, 'a')).toBe('closed');
    expect(fix.recorder.find('a')).toBeUndefined();
  });

  test('and whose next daemon dies right after it took them back are asked of the one after that', async () => {
    const fix = fixture();
    fix.lose('a', 'restoring');
    fix.restorable.add(WORKSPACE.id);
    await settled();
    const end = { atMs: 1, code: null, signal: 'SIGKILL', reason: 'killed', kind: 'died' } as const;
    fix.store.daemons.setEnded(fix.now, end);
    fix.calls[0]?.answer();
    await settled();
    expect([stateOf(fix, 'a'), fix.recorder.find('a')?.state]).toEqual(['restoring', 'restoring']);
    fix.clock.advance(500);
    await settled();
    expect(fix.calls.map(({ request }) => request.sessionId)).toEqual(['a', 'a']);
  });

  test('sleep when their daemon cannot be had, and a gesture tries again', async () => {
    const fix = fixture();
    fix.lose('a', 'restoring');
    fix.failStarts(fail('workspace_runtime_unavailable', 'it failed too often', { retryAfterMs: 300_000 }));
    fix.restorable.add(WORKSPACE.id);
    await settled();
    expect(stateOf(fix, 'a')).toBe('dormant');
    await expect(fix.restorer.wake('a', stays)).rejects.toMatchObject({ status: 503 });
    expect(stateOf(fix, 'a')).toBe('dormant');
  });

  test('outlive the next daemon, which dies while it has them half back', async () => {
    const fix = fixture();
    fix.lose('a', 'restoring');
    fix.restorable.add(WORKSPACE.id);
    await settled();
    fix.calls[0]?.refuse(fail('workspace_runtime_unavailable', 'the daemon went away'));
    await settled();
    expect(stateOf(fix, 'a')).toBe('restoring');
    fix.clock.advance(500);
    await settled();
    fix.calls[1]?.answer();
    await settled();
    expect(stateOf(fix, 'a')).toBe('live');
  });

  test('sleep when one daemon after the other is lost', async () => {
    const fix = fixture();
    fix.lose('a', 'restoring');
    fix.restorable.add(WORKSPACE.id);
    for (let attempt = 0; attempt < 4; attempt += 1) {
      await settled();
      fix.calls[attempt]?.refuse(fail('workspace_runtime_unavailable', 'the daemon went away'));
      await settled();
      fix.clock.advance(500);
    }
    await settled();
    expect(fix.calls).toHaveLength(4);
    expect(stateOf(fix, 'a')).toBe('dormant');
  });
});

describe('a restore whose end the store cannot take', () => {
  test('is told to who wanted it, and the next one goes on', async () => {
    const fix = fixture(1);
    for (const id of ['a', 'b']) fix.lose(id, 'dormant');
    fix.store.refused.add('sessions.rest');
    fix.store.refused.add('events.append');
    const [first, second] = ['a', 'b'].map((id) => fix.restorer.wake(id, stays));
    await settled();
    fix.calls[0]?.refuse(fail('session_not_found', 'never heard of it', {}));
    await expect(first).rejects.toMatchObject({ code: 'session_not_found' });
    await settled();
    fix.calls[1]?.answer();
    await second;
    expect(['a', 'b'].map((id) => stateOf(fix, id))).toEqual(['dormant', 'live']);
    fix.store.refused.clear();
    const again = fix.restorer.wake('a', stays);
    await settled();
    fix.calls[2]?.answer();
    await again;
    expect(stateOf(fix, 'a')).toBe('live');
  });
});

describe('a session that has slept', () => {
  test('is asked back by the spelling that its agent gave it', async () => {
    const fix = fixture();
    const capitals = 'E621E1F8-C36C-495A-93FC-0C247A3E6E5F';
    fix.lose(capitals, 'dormant');
    fix.store.prompts.record({ promptId: 'p', sessionId: capitals, state: 'running', atMs: 1 });
    const brought = fix.restorer.wake(capitals.toLowerCase(), stays);
    await settled();
    expect(fix.calls[0]?.request).toMatchObject({ sessionId: capitals, lostPrompts: ['p'] });
    fix.calls[0]?.answer();
    await brought;
    expect(stateOf(fix, capitals)).toBe('live');
    expect(fix.store.prompts.unsettled(capitals)).toEqual([]);
  });

  test('takes a place when it is woken, and one that comes back by itself does not', async () => {
    const fix = fixture();
    let places = 0;
    fix.admitWith(() => {
      places += 1;
      return Promise.resolve(() => {
        places -= 1;
      });
    });
    fix.lose('back', 'restoring');
    fix.restorable.add(WORKSPACE.id);
    await settled();
    expect(places).toBe(0);
    fix.lose('asleep', 'dormant');
    const brought = fix.restorer.wake('asleep', stays);
    await settled();
    expect(places).toBe(1);
    fix.calls[1]?.answer();
    await brought;
    expect(places).toBe(0);
  });

  test('sleeps on when no place is left', async () => {
    const fix = fixture();
    fix.admitWith(() => Promise.reject(fail('session_limit_exceeded', 'full', { scope: 'total' })));
    fix.lose('a', 'dormant');
    await expect(fix.restorer.wake('a', stays)).rejects.toMatchObject({ code: 'session_limit_exceeded' });
    expect(fix.calls).toEqual([]);
    expect(stateOf(fix, 'a')).toBe('dormant');
  });
});

describe('a client that closes a session at rest', () => {
  test('closes it before its restore begins', async () => {
    const fix = fixture(1);
    for (const id of ['a', 'b']) fix.lose(id, 'restoring');
    fix.restorable.add(WORKSPACE.id);
    await settled();
    expect(fix.restorer.close('b')).toBe(true);
    fix.calls[0]?.answer();
    await settled();
    expect(fix.calls).toHaveLength(1);
    expect(['a', 'b'].map((id) => stateOf(fix, id))).toEqual(['live', 'closed']);
  });

  test('is told that it is on its way back', async () => {
    const fix = fixture();
    fix.lose('a', 'dormant');
    const brought = fix.restorer.wake('a', stays);
    expect(fix.restorer.close('a')).toBe(false);
    await settled();
    fix.calls[0]?.answer();
    await brought;
    expect(stateOf(fix, 'a')).toBe('live');
  });
});

test('a daemon that ends as it has taken a session back leaves it to the next one', async () => {
  const fix = fixture();
  fix.lose('a', 'restoring');
  fix.restorable.add(WORKSPACE.id);
  await settled();
  const end = {
    atMs: 1,
    code: 1,
    signal: null,
    reason: 'crash',
    kind: 'died',
    event: { kind: 'daemon_died', detail: {} },
  };
  fix.store.daemons.setEnded(fix.now, end as Parameters<typeof fix.store.daemons.setEnded>[1]);
  fix.calls[0]?.answer();
  await settled();
  expect(stateOf(fix, 'a')).toBe('restoring');
  expect(fix.recorder.find('a')?.state).toBe('restoring');
  const next = `${WORKSPACE.id}-3`;
  fix.store.addDaemon({ incarnation: next, workspaceId: WORKSPACE.id });
  fix.serveWith(next);
  await pass(fix.clock, 1000);
  fix.calls[1]?.answer();
  await settled();
  expect(fix.store.sessions.get('a')).toMatchObject({ state: 'live', incarnation: next });
});

describe('a client that wants a session', () => {
  test('joins the restore that runs already', async () => {
    const fix = fixture();
    fix.lose('a', 'restoring');
    fix.restorable.add(WORKSPACE.id);
    const joined = [fix.restorer.wake('a', stays), fix.restorer.wake('A', stays)];
    await settled();
    expect(fix.calls).toHaveLength(1);
    fix.calls[0]?.answer();
    await joined[0];
    expect(stateOf(fix, 'a')).toBe('live');
  });

  test('goes before the others in the queue', async () => {
    const fix = fixture(1);
    for (const id of ['a', 'b', 'c']) fix.lose(id, 'restoring');
    fix.restorable.add(WORKSPACE.id);
    void fix.restorer.wake('c', stays);
    await settled();
    expect(fix.calls.map(({ request }) => request.sessionId)).toEqual(['a', 'c']);
  });

  test('may leave, and the session comes back all the same', async () => {
    const fix = fixture();
    fix.lose('a', 'dormant');
    const leaving = new AbortController();
    const brought = fix.restorer.wake('a', leaving.signal);
    await settled();
    leaving.abort(new Error('client gone'));
    await expect(brought).rejects.toThrow('client gone');
    fix.calls[0]?.answer();
    await settled();
    expect(stateOf(fix, 'a')).toBe('live');
  });

  test('of a live or unknown session waits for nothing', async () => {
    const fix = fixture();
    await fix.restorer.wake('nobody', stays);
    expect(fix.calls).toEqual([]);
  });
});

describe('a passive request', () => {
  test('waits for a session that is coming back', async () => {
    const fix = fixture();
    fix.lose('a', 'restoring');
    fix.restorable.add(WORKSPACE.id);
    const waiting = fix.restorer.await('a', stays);
    await settled();
    fix.calls[0]?.answer();
    await waiting;
    expect(stateOf(fix, 'a')).toBe('live');
  });

  test('does not wait longer than the setting says', async () => {
    const fix = fixture();
    fix.lose('a', 'restoring');
    fix.restorable.add(WORKSPACE.id);
    const waiting = expect(fix.restorer.await('a', stays)).rejects.toMatchObject({
      status: 503,
      code: 'workspace_runtime_unavailable',
    });
    await settled();
    fix.clock.advance(1000);
    await waiting;
  });
});

test('a stop ends the waits and leaves the sessions to the next coordinator', async () => {
  const fix = fixture();
  fix.lose('a', 'restoring');
  fix.restorable.add(WORKSPACE.id);
  const brought = expect(fix.restorer.wake('a', stays)).rejects.toMatchObject({ code: 'daemon_draining' });
  await settled();
  fix.restorer.stop();
  await brought;
  expect(stateOf(fix, 'a')).toBe('restoring');
});
