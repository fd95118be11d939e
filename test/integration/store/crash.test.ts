import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import {
  acquireStateLock,
  notedAdminPath,
  StateDirLocked,
  stateLockOwner,
} from '../../../coordinator/store/lock.ts';
import { openStore } from '../../../coordinator/store/open.ts';
import { systemClock } from '../../../daemon/contract/clock.ts';
import { createLog } from '../../../daemon/contract/log.ts';
import { bundleScript } from '../../support/bundle-script.ts';

let script: Awaited<ReturnType<typeof bundleScript>>;
let dir: string;
let children: ChildProcess[] = [];

beforeAll(async () => {
  script = await bundleScript('test/integration/store/writer-child.ts');
});
afterAll(() => script.remove());
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'qc-crash-'));
});
afterEach(async () => {
  await Promise.all(children.map(kill));
  children = [];
  rmSync(dir, { recursive: true, force: true });
});

/** Starts a child that holds the state lock; resolves once its output has `lines` lines. */
async function startChild(
  role: 'hold' | 'write',
  lines: number,
): Promise<{ child: ChildProcess; said: () => string[] }> {
  const child = spawn(process.execPath, [script.path, dir, role], { stdio: ['ignore', 'pipe', 'pipe'] });
  children.push(child);
  let output = '';
  let errors = '';
  const said = () => output.slice(0, output.lastIndexOf('\n')).split('\n');
  await new Promise<void>((resolve, reject) => {
    child.once('close', (code) => reject(new Error(`child exited with ${code}: ${errors}`)));
    child.stderr?.on('data', (chunk) => {
      errors += chunk;
    });
    child.stdout?.on('data', (chunk) => {
      output += chunk;
      if (said().length >= lines) resolve();
    });
  });
  return { child, said };
}

async function kill(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const closed = once(child, 'close');
  child.kill('SIGKILL');
  await closed;
}

describe('kill -9 of the writer', () => {
  test('loses no acknowledged row, leaves no half row, and the next start counts on', async () => {
    let acknowledged: string[] = [];
    for (let round = 1; round <= 4; round++) {
      const { child, said } = await startChild('write', 1 + round * 60);
      await kill(child);
      acknowledged = [...acknowledged, ...said().slice(1)];
    }
    const store = openStore({
      path: join(dir, 'state.db'),
      clock: systemClock,
      log: createLog('t', 'silent'),
    });
    try {
      expect(acknowledged.length).toBeGreaterThanOrEqual(600);
      const lost = acknowledged.filter(
        (id) =>
          store.sessions.get(id) === undefined ||
          store.sessions.clients(id).length !== 1 ||
          store.prompts.get(`p/${id}`) === undefined,
      );
      expect(lost).toEqual([]);
      const opened = store.events.recent({ limit: 50_000 }).filter(({ kind }) => kind === 'session_opened');
      expect(opened).toHaveLength(store.sessions.countLive());
      expect(store.daemons.countStarts('0123456789abcdef')).toBe(4);
    } finally {
      store.close();
    }
  });
});

describe('the lock of the state directory', () => {
  test('a second process is refused by the pid of the first', async () => {
    const { child } = await startChild('hold', 1);
    const refused = () => acquireStateLock(dir, { pid: process.pid });
    expect(refused).toThrow(StateDirLocked);
    expect(refused).toThrow(`pid ${child.pid}`);
    expect(refused).toThrow(dir);
  });

  test('kill -9 of the holder lets the next one in', async () => {
    const { child } = await startChild('hold', 1);
    await kill(child);
    const lock = acquireStateLock(dir, { pid: process.pid });
    expect(existsSync(join(dir, 'coordinator.pid'))).toBe(true);
    lock.unlock();
  });

  test('a released lock is free, its note is gone, and it can be released twice', async () => {
    const lock = acquireStateLock(dir, { pid: process.pid });
    expect(() => acquireStateLock(dir, { pid: 2 })).toThrow(`pid ${process.pid}`);
    lock.unlock();
    lock.unlock();
    expect(existsSync(join(dir, 'coordinator.pid'))).toBe(false);
    await startChild('hold', 1);
  });

  test('a failed second attempt in the same process does not loosen the first', async () => {
    const lock = acquireStateLock(dir, { pid: process.pid });
    expect(() => acquireStateLock(dir, { pid: 2 })).toThrow(StateDirLocked);
    await expect(startChild('hold', 1)).rejects.toThrow('child exited with 1');
    lock.unlock();
  });

  test('whoever looks sees the pid of a living holder and nobody after its end', async () => {
    expect(stateLockOwner(dir)).toBeUndefined();
    const { child } = await startChild('hold', 1);
    expect(stateLockOwner(dir)).toEqual({ pid: child.pid });
    await kill(child);
    expect(stateLockOwner(dir)).toBeUndefined();
  });

  test('a holder notes where it can be asked, and the next one that cannot be asked takes the note away', () => {
    const lock = acquireStateLock(dir, { pid: process.pid, adminPath: '/run/x/admin.sock' });
    expect(notedAdminPath(dir)).toBe('/run/x/admin.sock');
    lock.unlock();
    expect(notedAdminPath(dir)).toBeUndefined();
    writeFileSync(join(dir, 'admin.path'), '/of/a/killed/one');
    acquireStateLock(dir, { pid: process.pid }).unlock();
    expect(notedAdminPath(dir)).toBeUndefined();
  });

  test('an unreadable note is no reason to let a second one in', async () => {
    await startChild('hold', 1);
    writeFileSync(join(dir, 'coordinator.pid'), 'garbage');
    expect(() => acquireStateLock(dir, { pid: 1 })).toThrow('pid unknown');
  });
});
