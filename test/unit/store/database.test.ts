import { statSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { openSqlite } from '../../../coordinator/store/driver.ts';
import { MIGRATIONS, migrate } from '../../../coordinator/store/migrate.ts';
import { openStore } from '../../../coordinator/store/open.ts';
import { systemClock } from '../../../daemon/contract/clock.ts';
import { ApiError } from '../../../daemon/contract/errors.ts';
import {
  anEnd,
  aPrompt,
  aSession,
  kinds,
  openTestStore,
  silent,
  startDaemon,
  tempDir,
  WS,
} from './open-test-store.ts';

const LATEST = MIGRATIONS.length;
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

function open(keep = 1000) {
  const opened = openTestStore(dir, { keep });
  closers.push(() => opened.store.close());
  return opened;
}

function thrownBy(run: () => void): unknown {
  try {
    run();
  } catch (error) {
    return error;
  }
  throw new Error('nothing was thrown');
}

describe('opening', () => {
  test('database, WAL and shared memory can be read by their owner only', () => {
    const { store } = open();
    startDaemon(store);
    const modes = ['', '-wal', '-shm'].map((end) => statSync(join(dir, `state.db${end}`)).mode & 0o777);
    expect(modes).toEqual([0o600, 0o600, 0o600]);
  });

  test('what was written is there after close and open, and close may be called twice', () => {
    const { store } = open();
    const incarnation = startDaemon(store);
    store.sessions.record(WS, incarnation, aSession('s1'));
    store.close();
    store.close();
    const again = open().store;
    expect(again.sessions.get('s1')?.incarnation).toBe(incarnation);
    expect(again.daemons.nextIncarnation(WS)).toBe(`${WS}-2`);
  });

  test('facts tell path, sizes, schema version and counts', () => {
    const { store } = open();
    store.sessions.record(WS, startDaemon(store), aSession('s1'));
    const facts = store.facts();
    expect(facts).toMatchObject({
      path: join(dir, 'state.db'),
      schemaVersion: LATEST,
      sessions: 1,
      events: 2,
      warnings: [],
    });
    expect(facts.bytes + facts.walBytes).toBeGreaterThan(4096);
  });
});

describe('migration', () => {
  test('a database of a newer release is refused by both version numbers and left as it is', () => {
    open().store.close();
    const raw = openSqlite(join(dir, 'state.db'));
    raw.pragma('user_version = 77');
    raw.close();
    const path = join(dir, 'state.db');
    const error = thrownBy(() => openStore({ path, clock: systemClock, log: silent }));
    expect((error as Error).message).toMatch(new RegExp(`schema version 77.*only up to version ${LATEST}`));
    const after = openSqlite(path);
    closers.push(() => after.close());
    expect(after.pragma('user_version', { simple: true })).toBe(77);
  });

  test('a migration that fails leaves the version before it, whole', () => {
    const sqlite = openSqlite(join(dir, 'other.db'));
    closers.push(() => sqlite.close());
    const broken = {
      version: LATEST + 1,
      name: 'broken',
      sql: 'CREATE TABLE half (a) STRICT; CREATE NONSENSE',
    };
    expect(() => migrate(sqlite, 'other.db', silent, [...MIGRATIONS, broken])).toThrow();
    expect(sqlite.pragma('user_version', { simple: true })).toBe(LATEST);
    expect(sqlite.prepare(`SELECT name FROM sqlite_schema WHERE name = 'half'`).all()).toEqual([]);
  });

  test('migrations are numbered from 1 without a gap', () => {
    expect(MIGRATIONS.map(({ version }) => version)).toEqual(MIGRATIONS.map((_, index) => index + 1));
  });
});

describe('transactions', () => {
  test('all writes of a transaction are kept or none, their events included', () => {
    const { store } = open();
    const incarnation = startDaemon(store);
    const work = () => {
      store.sessions.record(WS, incarnation, aSession('s1'));
      store.prompts.record(aPrompt('p1'));
      throw new Error('stop here');
    };
    expect(() => store.transaction(work)).toThrow('stop here');
    expect(store.sessions.get('s1')).toBeUndefined();
    expect(store.prompts.get('p1')).toBeUndefined();
    expect(kinds(store)).toEqual(['daemon_starting']);
  });

  test('a heartbeat flush inside a transaction belongs to it', () => {
    const { store } = open();
    store.sessions.record(WS, startDaemon(store), aSession('s1'));
    const flush = () => store.heartbeats.flush([{ sessionId: 's1', clientId: null, atMs: 99 }], 10);
    const flushThenFail = () => {
      flush();
      throw new Error('stop here');
    };
    expect(() => store.transaction(flushThenFail)).toThrow('stop here');
    expect(store.sessions.get('s1')?.lastSeenAtMs).toBe(20);
    expect(store.transaction(flush)).toBe(0);
    expect(store.sessions.get('s1')?.lastSeenAtMs).toBe(99);
  });

  test('only heartbeats are written without waiting for the disk', () => {
    const { database } = open();
    const modes: unknown[] = [];
    const mode = () => modes.push(database.sqlite.pragma('synchronous', { simple: true }));
    database.write(mode);
    database.writeRelaxed(mode);
    database.write(mode);
    const failing = () => {
      throw new Error('stop here');
    };
    expect(() => database.writeRelaxed(failing)).toThrow('stop here');
    database.write(mode);
    const [normal, full] = [1, 2];
    expect(modes).toEqual([full, normal, full, full]);
  });
});

describe('a disk that refuses', () => {
  const storageError = (code: RegExp) =>
    expect.objectContaining({
      status: 507,
      code: 'storage_unavailable',
      context: { sqliteCode: expect.stringMatching(code) },
    });

  test('a full disk is 507 with the SQLite code, nothing half-written, and passes when there is room again', () => {
    const { store, database } = open();
    const incarnation = startDaemon(store);
    const limit = Number(database.sqlite.pragma('page_count', { simple: true }));
    database.sqlite.pragma(`max_page_count = ${limit}`);
    const big = aSession('s1', { displayName: 'x'.repeat(100_000) });
    const error = thrownBy(() => store.sessions.record(WS, incarnation, big));
    expect(error).toBeInstanceOf(ApiError);
    expect(error).toEqual(storageError(/^SQLITE_FULL$/));
    expect(store.sessions.get('s1')).toBeUndefined();
    database.sqlite.pragma('max_page_count = 1000000');
    store.sessions.record(WS, incarnation, big);
    expect(store.sessions.get('s1')?.state).toBe('live');
  });

  test('a full disk inside a transaction undoes all of it', () => {
    const { store, database } = open();
    const incarnation = startDaemon(store);
    database.sqlite.pragma(`max_page_count = ${database.sqlite.pragma('page_count', { simple: true })}`);
    const work = () => {
      store.sessions.record(WS, incarnation, aSession('s1'));
      store.sessions.record(WS, incarnation, aSession('s2', { displayName: 'x'.repeat(100_000) }));
    };
    expect(thrownBy(() => store.transaction(work))).toEqual(storageError(/FULL/));
    expect(store.sessions.countLive()).toBe(0);
  });

  test('a read-only database is 507 for every noun', () => {
    const { store, database } = open();
    const incarnation = startDaemon(store);
    store.sessions.record(WS, incarnation, aSession('s1'));
    database.sqlite.pragma('query_only = 1');
    const writes = [
      () =>
        store.workspaces.upsert({ id: WS, path: '/p', displayName: null, origin: 'static', createdAtMs: 1 }),
      () => store.daemons.nextIncarnation(WS),
      () => store.daemons.setEnded(incarnation, anEnd),
      () => store.sessions.rest('s1', 'closed', 1, 'x'),
      () => store.prompts.record(aPrompt('p1')),
      () => store.heartbeats.flush([{ sessionId: 's1', clientId: null, atMs: 99 }], 10),
      () => store.events.append({ kind: 'x' }),
    ];
    for (const write of writes) expect(thrownBy(write)).toEqual(storageError(/^SQLITE_READONLY/));
  });

  test('a lock that another process will not give up is 507', () => {
    const { store, database } = open();
    const other = openSqlite(join(dir, 'state.db'));
    closers.push(() => other.close());
    other.exec('BEGIN IMMEDIATE');
    database.sqlite.pragma('busy_timeout = 10');
    expect(thrownBy(() => store.events.append({ kind: 'x' }))).toEqual(storageError(/^SQLITE_BUSY/));
  });
});

describe('events', () => {
  test('recent events come newest first, all or of one workspace, with their detail', () => {
    const { store, time } = open();
    store.events.append({ kind: 'a', workspaceId: WS, incarnation: 'i', sessionId: 's', detail: { n: 1 } });
    time.nowMs = 1_000_500;
    store.events.append({ kind: 'b' });
    expect(store.events.recent({ limit: 10 })).toEqual([
      {
        id: 2,
        atMs: 1_000_500,
        kind: 'b',
        workspaceId: null,
        incarnation: null,
        sessionId: null,
        detail: {},
      },
      {
        id: 1,
        atMs: 1_000_000,
        kind: 'a',
        workspaceId: WS,
        incarnation: 'i',
        sessionId: 's',
        detail: { n: 1 },
      },
    ]);
    expect(store.events.recent({ workspaceId: WS, limit: 10 }).map(({ kind }) => kind)).toEqual(['a']);
    expect(store.events.recent({ limit: 1 }).map(({ kind }) => kind)).toEqual(['b']);
  });

  test('the newest are kept, and the table never grows by more than one pruning step over that', () => {
    const { store } = open(100);
    const counts: number[] = [];
    for (let n = 1; n <= 600; n++) {
      store.events.append({ kind: `session_${n}` });
      counts.push(store.facts().events ?? Number.NaN);
    }
    expect(Math.max(...counts)).toBeLessThanOrEqual(100 + 256);
    const kept = store.events.recent({ limit: 1000 }).map(({ kind }) => kind);
    expect(kept.slice(0, 100)).toEqual(Array.from({ length: 100 }, (_, index) => `session_${600 - index}`));
  });

  test('what is no coming and going of sessions and prompts is not pushed out by it', () => {
    const { store } = open(10);
    store.events.append({ kind: 'daemon_died', workspaceId: WS });
    for (let n = 1; n <= 600; n++) store.events.append({ kind: 'prompt_running', workspaceId: WS });
    expect(store.events.story(WS, 100).map(({ kind }) => kind)).toEqual(['daemon_died']);
  });
});
