// A database of the releases before launch handles: what becomes of its rows, and the copy that leads back.
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  statSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { openSqlite } from '../../../coordinator/store/driver.ts';
import { inspectDatabase } from '../../../coordinator/store/inspect.ts';
import { MIGRATIONS, migrate } from '../../../coordinator/store/migrate.ts';
import { CopyFailed } from '../../../coordinator/store/migration-copy.ts';
import { DAY_MS } from '../../../coordinator/store/retention.ts';
import { openTestStore, silent, tempDir, WS } from './open-test-store.ts';

let closers: (() => void)[] = [];
let dir: string;
let path: string;
let copy: string;
beforeEach(() => {
  const temp = tempDir();
  dir = temp.dir;
  path = join(dir, 'state.db');
  copy = `${path}.before-v6`;
  closers = [temp.remove];
});
afterEach(() => {
  for (const close of closers.reverse()) close();
});

/** A database as schema 5 left it: a daemon that is ready, one that was being started, one that has ended; and a session. */
function older(): void {
  const sqlite = openSqlite(path);
  sqlite.pragma('journal_mode = WAL');
  migrate(sqlite, path, silent, MIGRATIONS.slice(0, 5));
  const insert = sqlite.prepare(
    `INSERT INTO daemons (incarnation, workspace_id, state, socket_path, secret, boot_id, pid, start_time, version, log_path,
       created_at_ms, start_deadline_at_ms, can_load)
     VALUES (?, ?, ?, ?, ?, 'boot-1', ?, ?, ?, '/log/w.log', 1, 2, 1)`,
  );
  insert.run(`${WS}-1`, WS, 'ended', '/run/1.sock', '', 4709, 97, '1.0.0');
  insert.run(`${WS}-2`, WS, 'ready', '/run/2.sock', 's3cret', 4710, 98, '1.0.0');
  insert.run(`${WS}-3`, WS, 'starting', '/run/3.sock', 's3cret-3', null, null, null);
  sqlite.exec(`INSERT INTO sessions (session_id, workspace_id, incarnation, state, created_at_ms, last_seen_at_ms, is_default)
    VALUES ('s1', '${WS}', '${WS}-2', 'live', 1, 2, 0)`);
  sqlite.close();
}

function open() {
  const opened = openTestStore(dir);
  closers.push(() => opened.store.close());
  return opened;
}

const handle = (n: number, process: object) => ({
  kind: 'process',
  version: 1,
  incarnation: `${WS}-${n}`,
  bootId: 'boot-1',
  socketPath: `/run/${n}.sock`,
  logPath: '/log/w.log',
  ...process,
});

describe('a database of schema 5', () => {
  test('keeps its daemons: each is found by what its columns said', () => {
    older();
    const { store, database } = open();
    expect(database.schemaVersion).toBe(MIGRATIONS.length);
    const rows = [1, 2, 3].map((n) => store.daemons.find(`${WS}-${n}`));
    expect(rows.map((row) => JSON.parse(String(row?.launchHandle)))).toEqual([
      handle(1, { pid: 4709, startTime: 97 }),
      handle(2, { pid: 4710, startTime: 98 }),
      handle(3, { pid: null, startTime: null }),
    ]);
    expect(rows).toMatchObject([
      { state: 'ended', address: null, secret: '' },
      { state: 'ready', address: '{"kind":"unix","path":"/run/2.sock"}', secret: 's3cret', version: '1.0.0' },
      { state: 'starting', address: null, secret: 's3cret-3', startDeadlineAtMs: 2, canLoad: 1 },
    ]);
    expect(store.sessions.live(WS)).toMatchObject([{ sessionId: 's1', incarnation: `${WS}-2` }]);
    expect(store.daemons.latest(WS)?.incarnation).toBe(`${WS}-3`);
  });

  test('is read by a command that only looks, and stays as it is', () => {
    older();
    const inspection = inspectDatabase(path);
    closers.push(() => inspection?.close());
    expect(inspection).toMatchObject({ schemaVersion: 5, problems: [] });
    const launchHandle = JSON.stringify(handle(2, { pid: 4710, startTime: 98 }));
    expect(inspection?.daemon(`${WS}-2`)).toEqual({
      incarnation: `${WS}-2`,
      workspaceId: WS,
      state: 'ready',
      launchHandle,
    });
    expect(inspection?.unended()).toHaveLength(2);
    expect(existsSync(copy)).toBe(false);
  });
});

describe('the copy before a migration', () => {
  test('is whole, private, one file, and opens in the earlier release with the secrets of running daemons', () => {
    older();
    open();
    expect(statSync(copy).mode & 0o777).toBe(0o600);
    expect(readdirSync(dir).filter((name) => name.startsWith('state.db.'))).toEqual(['state.db.before-v6']);
    const earlier = openSqlite(copy, { readonly: true });
    closers.push(() => earlier.close());
    expect(earlier.pragma('user_version', { simple: true })).toBe(5);
    expect(earlier.pragma('integrity_check', { simple: true })).toBe('ok');
    expect(
      earlier.prepare(`SELECT socket_path, secret, pid FROM daemons WHERE state = 'ready'`).all(),
    ).toEqual([{ socket_path: '/run/2.sock', secret: 's3cret', pid: 4710 }]);
  });

  test('holds what was only in the write-ahead log', () => {
    older();
    const writer = openSqlite(path);
    closers.push(() => writer.close());
    writer.pragma('wal_autocheckpoint = 0');
    writer.exec(`UPDATE daemons SET version = '1.0.1' WHERE state = 'ready'`);
    open();
    const earlier = openSqlite(copy, { readonly: true });
    closers.push(() => earlier.close());
    expect(earlier.prepare(`SELECT version FROM daemons WHERE state = 'ready'`).pluck().get()).toBe('1.0.1');
  });

  test('is not made of a new database, nor of one that needs no migration', () => {
    open().store.close();
    open();
    expect(readdirSync(dir).filter((name) => name.includes('before'))).toEqual([]);
  });

  test('that cannot be made refuses the start, says what to do, and nothing is changed', () => {
    older();
    // A directory of that name cannot be replaced by a file.
    mkdirSync(join(copy, 'in the way'), { recursive: true });
    expect(() => openTestStore(dir)).toThrow(CopyFailed);
    expect(() => openTestStore(dir)).toThrow(
      /state\.db needs schema version 6, and could not be copied to .*before-v6 .* \d+ bytes free, then start again\. Nothing was changed$/,
    );
    const after = openSqlite(path, { readonly: true });
    closers.push(() => after.close());
    expect(after.pragma('user_version', { simple: true })).toBe(5);
    expect(readdirSync(dir).filter((name) => name.endsWith('.partial'))).toEqual([]);
  });

  test('takes the place of one that an upgrade left that was taken back', () => {
    older();
    open().store.close();
    for (const end of ['', '-wal', '-shm'])
      if (existsSync(path + end)) renameSync(path + end, join(dir, `newer${end}`));
    const back = openSqlite(copy);
    back.pragma('journal_mode = WAL');
    back.exec(`UPDATE daemons SET version = '1.0.2' WHERE state = 'ready'`);
    back.close();
    renameSync(copy, path);
    writeFileSync(copy, 'of the first upgrade');
    open();
    expect(readFileSync(copy).includes('1.0.2')).toBe(true);
  });

  test('that a kill cut short leaves nothing behind, whether the upgrade goes on or is given up', async () => {
    const left = [`${copy}.partial`, `${copy}.partial-journal`];
    const cutShort = () => {
      for (const file of left) writeFileSync(file, 'half of the secrets');
    };
    older();
    cutShort();
    const { store, time } = open();
    expect(left.filter((file) => existsSync(file))).toEqual([]);
    cutShort();
    for (const file of left) utimesSync(file, new Date(1000), new Date(1000));
    time.nowMs = 1001 + 30 * DAY_MS;
    await store.upkeep();
    expect(left.filter((file) => existsSync(file))).toEqual([]);
  });

  test('is removed once it is as old as history may become', async () => {
    older();
    const { store, time } = open();
    utimesSync(copy, new Date(1000), new Date(1000));
    time.nowMs = 1000 + 30 * DAY_MS;
    await store.upkeep();
    expect(existsSync(copy)).toBe(true);
    time.nowMs += 1;
    await store.upkeep();
    expect(existsSync(copy)).toBe(false);
  });
});
