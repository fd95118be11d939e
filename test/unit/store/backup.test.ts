import { existsSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { openSqlite } from '../../../coordinator/store/driver.ts';
import { type DaemonAddress, storedReach } from '../../../coordinator/upstream/address.ts';
import { aSession, openTestStore, startDaemon, tempDir, WS } from './open-test-store.ts';

let closers: (() => void)[] = [];
let dir: string;
let file: string;

beforeEach(() => {
  const temp = tempDir();
  dir = temp.dir;
  file = join(dir, 'copy.db');
  closers = [temp.remove];
});
afterEach(() => {
  for (const close of closers.reverse()) close();
});

function open() {
  const opened = openTestStore(dir);
  closers.push(() => opened.store.close());
  return opened;
}

describe('a backup', () => {
  test('is one private file with every row that was committed, and no secret anywhere in its bytes', async () => {
    const { store } = open();
    const incarnation = startDaemon(store);
    for (let n = 0; n < 200; n++) store.sessions.record(WS, incarnation, aSession(`s${n}`));
    store.daemons.setLaunched(incarnation, '{"kind":"test","version":1,"name":"d"}', { pid: 4711 });
    const tls = { ca: 'PEM of the authority', own: { cert: 'PEM', key: 'a private key in PEM' } };
    const address: DaemonAddress = { kind: 'tcp', host: 'node-7', port: 8443, tls };
    const reach = storedReach({ address, secret: 's3cret' });
    store.daemons.setReady(incarnation, { version: '1.2.3', ...reach });
    const facts = await store.backup(file);
    expect(facts).toEqual({ file, bytes: statSync(file).size, sessions: 200 });
    expect(statSync(file).mode & 0o777).toBe(0o600);
    for (const credential of ['s3cret', tls.ca, tls.own.key])
      expect(readFileSync(file).includes(credential)).toBe(false);
    expect(store.daemons.latest(WS)).toMatchObject(reach);
    const copy = openSqlite(file, { readonly: true });
    closers.push(() => copy.close());
    expect(copy.pragma('integrity_check', { simple: true })).toBe('ok');
    expect(copy.prepare('SELECT count(*) FROM sessions').pluck().get()).toBe(200);
    expect(
      readdirSync(dir)
        .filter((name) => name.startsWith('copy.db'))
        .sort(),
    ).toEqual(['copy.db']);
  });

  test('goes on while rows are written, and is whole', async () => {
    const { store } = open();
    const incarnation = startDaemon(store);
    store.transaction(() => {
      for (let n = 0; n < 5000; n++) store.sessions.record(WS, incarnation, aSession(`s${n}`));
    });
    let written = 5000;
    const timer = setInterval(() => {
      store.sessions.record(WS, incarnation, aSession(`s${written}`));
      written += 1;
    }, 0);
    closers.push(() => clearInterval(timer));
    const { sessions } = await store.backup(file);
    expect(sessions).toBeGreaterThanOrEqual(5000);
    expect(sessions).toBeLessThanOrEqual(written);
  });

  test('overwrites nothing', async () => {
    const { store } = open();
    writeFileSync(file, 'mine');
    await expect(store.backup(file)).rejects.toMatchObject({ status: 409 });
    expect(readFileSync(file, 'utf8')).toBe('mine');
  });

  test('into a directory that is not there is refused, and leaves nothing', async () => {
    const { store } = open();
    await expect(store.backup(join(dir, 'no', 'copy.db'))).rejects.toMatchObject({ status: 400 });
    expect(existsSync(join(dir, 'no'))).toBe(false);
  });
});

test('a restored backup has no secret until the daemon is taken up again, and numbers go on above it', async () => {
  const { store } = open();
  const incarnation = startDaemon(store);
  await store.backup(file);
  const restored = openTestStore(dir, { path: file });
  closers.push(() => restored.store.close());
  const row = {
    incarnation,
    workspaceId: WS,
    launchHandle: '{"kind":"test","version":1}',
    secret: 'found',
    createdAtMs: 1,
  };
  expect(restored.store.daemons.unended()[0]?.secret).toBe('');
  expect(restored.store.daemons.recover(row, { pid: 4711 })).toBe(true);
  expect(restored.store.daemons.unended()[0]?.secret).toBe('found');
  expect(restored.store.daemons.recover({ ...row, incarnation: `${WS}-9` }, {})).toBe(true);
  expect(restored.store.daemons.nextIncarnation(WS)).toBe(`${WS}-10`);
});
