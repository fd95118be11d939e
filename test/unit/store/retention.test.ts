import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { DAY_MS } from '../../../coordinator/store/retention.ts';
import { anEnd, aPrompt, aSession, openTestStore, startDaemon, tempDir, WS } from './open-test-store.ts';

let closers: (() => void)[] = [];
let dir: string;

beforeEach(() => {
  const temp = tempDir();
  dir = temp.dir;
  closers = [temp.remove];
});
afterEach(() => {
  for (const close of closers.reverse()) close();
});

function open(retention: NonNullable<Parameters<typeof openTestStore>[1]>['retention'] = {}) {
  const opened = openTestStore(dir, { retention: { maxAgeMs: 30 * DAY_MS, ...retention } });
  opened.time.nowMs = 100 * DAY_MS;
  closers.push(() => opened.store.close());
  return opened;
}

describe('by age', () => {
  test('closed sessions go with their clients and heartbeats, open ones of any age stay', async () => {
    const { store, database } = open();
    const incarnation = startDaemon(store);
    const clients = [{ clientId: 'c1', count: 1, lastSeenAtMs: 1 }];
    for (const id of ['old', 'young', 'dormant', 'live'])
      store.sessions.record(WS, incarnation, aSession(id, { clients }));
    store.heartbeats.flush([{ sessionId: 'old', clientId: 'c1', atMs: 2 }], 10);
    store.sessions.rest('old', 'closed', 69 * DAY_MS, 'x');
    store.sessions.rest('young', 'closed', 71 * DAY_MS, 'x');
    store.sessions.rest('dormant', 'dormant', 1, 'x');
    await store.upkeep();
    expect(store.sessions.get('old')).toBeUndefined();
    for (const id of ['young', 'dormant', 'live']) expect(store.sessions.get(id)).toBeDefined();
    const left = (table: string) =>
      database.sqlite.prepare(`SELECT count(*) FROM ${table} WHERE session_id = 'old'`).pluck().get();
    expect([left('session_clients'), left('heartbeats')]).toEqual([0, 0]);
  });

  test('settled prompts go, unsettled ones stay', async () => {
    const { store } = open();
    store.prompts.record(aPrompt('done', { state: 'completed', atMs: 1 }));
    store.prompts.record(aPrompt('open', { state: 'running', atMs: 1 }));
    await store.upkeep();
    expect(store.prompts.get('done')).toBeUndefined();
    expect(store.prompts.get('open')).toBeDefined();
  });

  test('ended daemons go, except the last of a workspace and those that a session refers to', async () => {
    const { store } = open();
    const [referred, plain, last] = [startDaemon(store), startDaemon(store), startDaemon(store)];
    store.sessions.record(WS, referred as string, aSession('s1'));
    store.sessions.rest('s1', 'dormant', 1, 'x');
    for (const incarnation of [referred, plain, last]) store.daemons.setEnded(incarnation as string, anEnd);
    await store.upkeep();
    expect(store.daemons.latest(WS)?.incarnation).toBe(last);
    // Recovering does nothing where the row is still there.
    const gone = [referred, plain, last].filter((incarnation) =>
      store.daemons.recover(
        {
          incarnation: incarnation as string,
          workspaceId: WS,
          launchHandle: '{}',
          secret: 'x',
          createdAtMs: 1,
        },
        {},
      ),
    );
    expect(gone).toEqual([plain]);
  });

  test('events go, and ids go on counting even when all have gone', async () => {
    const { store, time } = open();
    time.nowMs = 1;
    for (const kind of ['daemon_died', 'session_opened', 'daemon_died']) store.events.append({ kind });
    time.nowMs = 100 * DAY_MS;
    await store.upkeep();
    expect(store.events.recent({ limit: 10 }).map(({ id }) => id)).toEqual([3]);
    store.events.append({ kind: 'x' });
    expect(store.events.recent({ limit: 1 })[0]?.id).toBe(4);
  });
});

describe('by number', () => {
  test('the oldest of too many go, each kind by its own number', async () => {
    const { store } = open({ maxClosedSessions: 2, maxSettledPrompts: 1, maxEvents: 5 });
    const incarnation = startDaemon(store);
    for (let n = 1; n <= 4; n++) {
      store.sessions.record(WS, incarnation, aSession(`s${n}`));
      store.sessions.rest(`s${n}`, 'closed', 99 * DAY_MS + n, 'x');
      store.prompts.record(aPrompt(`p${n}`, { state: 'completed', atMs: 99 * DAY_MS + n }));
    }
    await store.upkeep();
    expect([1, 2, 3, 4].filter((n) => store.sessions.get(`s${n}`))).toEqual([3, 4]);
    expect([1, 2, 3, 4].filter((n) => store.prompts.get(`p${n}`))).toEqual([4]);
    expect(
      store.events.recent({ limit: 100 }).filter(({ kind }) => /^(session|prompt)_/.test(kind)),
    ).toHaveLength(5);
    expect(store.events.story(WS, 10).map(({ kind }) => kind)).toEqual(['daemon_starting']);
  });
});

describe('under load', () => {
  test('20,000 due sessions among 40,000 events leave the event loop a turn after every hundred', async () => {
    const { store } = open();
    const incarnation = startDaemon(store);
    for (let from = 0; from < 20_000; from += 1000)
      store.transaction(() => {
        for (let n = from; n < from + 1000; n++) {
          store.sessions.record(WS, incarnation, aSession(`s${n}`));
          store.sessions.rest(`s${n}`, 'closed', n, 'x');
        }
      });
    let turns = 0;
    let isOver = false;
    const countTurn = () => {
      turns += 1;
      if (!isOver) setImmediate(countTurn);
    };
    setImmediate(countTurn);
    await store.upkeep();
    isOver = true;
    expect(store.sessions.get('s19999')).toBeUndefined();
    // Turns, not time: how long a hundred rows take is the machine's matter.
    expect(turns).toBeGreaterThanOrEqual(200);
  });
});
