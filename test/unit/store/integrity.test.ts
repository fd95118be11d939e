import { closeSync, openSync, readdirSync, readFileSync, statSync, truncateSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { openSqlite } from '../../../coordinator/store/driver.ts';
import { isCorruptionCode, setAside, wasClosedInOrder } from '../../../coordinator/store/integrity.ts';
import { openStore } from '../../../coordinator/store/open.ts';
import type { Store } from '../../../coordinator/store/store.ts';
import { systemClock } from '../../../daemon/contract/clock.ts';
import { aSession, openTestStore, silent, startDaemon, tempDir, WS } from './open-test-store.ts';

const NOW = Date.UTC(2026, 10, 20, 15, 14, 13, 250);
const clock = { ...systemClock, nowMs: () => NOW };
let closers: (() => void)[] = [];
let dir: string;
let path: string;

beforeEach(() => {
  const temp = tempDir();
  dir = temp.dir;
  path = join(dir, 'state.db');
  closers = [temp.remove];
});
afterEach(() => {
  for (const close of closers.reverse()) close();
});

function open(): Store {
  const store = openStore({ path, clock, log: silent });
  closers.push(() => store.close());
  return store;
}

/** A database with enough sessions for many pages, closed in order. */
function writeDatabase(): void {
  const { store } = openTestStore(dir);
  const incarnation = startDaemon(store);
  store.transaction(() => {
    for (let n = 0; n < 500; n++)
      store.sessions.record(WS, incarnation, aSession(`s${n}`, { displayName: 'x'.repeat(200) }));
  });
  store.close();
}

function overwrite(offset: number, bytes: number): void {
  const fd = openSync(path, 'r+');
  writeSync(fd, Buffer.alloc(bytes, 0xa5), 0, bytes, offset);
  closeSync(fd);
}

const aside = () => readdirSync(dir).filter((name) => name.includes('.corrupt-'));

describe('a damaged database', () => {
  test.each([
    ['its header is overwritten', () => overwrite(0, 100)],
    ['pages in its middle are overwritten', () => overwrite(16 * 4096, 8 * 4096)],
    ['its end is missing', () => truncateSync(path, 4096 * Math.floor(statSync(path).size / 4096 / 2))],
  ])('is set aside whole under a dated name and begun anew when %s', (_what, damage) => {
    writeDatabase();
    damage();
    const damaged = readFileSync(path);
    const store = open();
    expect(aside()).toEqual(['state.db.corrupt-20261120-151413']);
    expect(readFileSync(join(dir, aside()[0] ?? '')).equals(damaged)).toBe(true);
    expect(store.sessions.countLive()).toBe(0);
    expect(store.facts().warnings).toEqual([expect.stringContaining('state.db.corrupt-20261120-151413')]);
    expect(store.events.recent({ limit: 1 })[0]).toMatchObject({
      kind: 'database_rebuilt',
      detail: { setAside: join(dir, 'state.db.corrupt-20261120-151413'), problems: expect.any(Array) },
    });
  });

  test('is warned of until the next start', () => {
    writeDatabase();
    overwrite(0, 100);
    open().close();
    expect(open().facts().warnings).toEqual([]);
    expect(aside()).toHaveLength(1);
  });

  test('a second one in the same second gets a name of its own', () => {
    for (const _round of [1, 2]) {
      writeDatabase();
      overwrite(0, 100);
      open().close();
    }
    expect(aside().sort()).toEqual([
      'state.db.corrupt-20261120-151413',
      'state.db.corrupt-20261120-151413-2',
    ]);
  });

  test('the log goes with it: a new database never reads the old one', () => {
    writeDatabase();
    const fd = openSync(`${path}-wal`, 'w');
    writeSync(fd, 'old log');
    closeSync(fd);
    setAside(path, NOW);
    expect(readdirSync(dir).sort()).toEqual([
      'state.db.corrupt-20261120-151413',
      'state.db.corrupt-20261120-151413-wal',
    ]);
  });
});

describe('a database that was killed', () => {
  test('leaves its log, which asks for the full check; one that was closed leaves none', () => {
    const { store } = openTestStore(dir);
    startDaemon(store);
    expect(wasClosedInOrder(path)).toBe(false);
    store.close();
    expect(wasClosedInOrder(path)).toBe(true);
  });
});

describe('damage that shows while the store is open', () => {
  test('is 507 for writes and reads, is told with what to do, and stays told', () => {
    writeDatabase();
    const store = open();
    // Another connection's commit makes this one read its pages again.
    const other = openSqlite(path);
    closers.push(() => other.close());
    other.exec('CREATE TABLE noise (a)');
    other.pragma('wal_checkpoint(TRUNCATE)');
    overwrite(4096, statSync(path).size - 4096);
    expect(() => store.events.append({ kind: 'x' })).toThrow(
      expect.objectContaining({ status: 507, code: 'storage_unavailable' }),
    );
    expect(() => store.sessions.get('s1')).toThrow(expect.objectContaining({ status: 507 }));
    expect(store.facts().warnings).toEqual([expect.stringMatching(/damaged.*SIGKILL/s)]);
    expect(store.facts().warnings).toHaveLength(1);
  });
});

test.each([
  ['SQLITE_CORRUPT', true],
  ['SQLITE_CORRUPT_INDEX', true],
  ['SQLITE_NOTADB', true],
  ['SQLITE_FULL', false],
  ['SQLITE_IOERR_READ', false],
  [undefined, false],
])('%s says that the content is wrong: %s', (code, isCorruption) => {
  expect(isCorruptionCode(code)).toBe(isCorruption);
});
