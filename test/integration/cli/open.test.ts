// What a coordinator and a sweep take before they run, and that a refusal on the way gives all of it back.
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { Coordinator, type CoordinatorOptions } from '../../../coordinator/app.ts';
import { sweep } from '../../../coordinator/cli/sweep.ts';
import { parseConfig } from '../../../coordinator/config.ts';
import { ensureStateDir } from '../../../coordinator/launch/directories.ts';
import { openSqlite } from '../../../coordinator/store/driver.ts';
import { acquireStateLock } from '../../../coordinator/store/lock.ts';
import { SchemaTooNew } from '../../../coordinator/store/migrate.ts';
import { createLog } from '../../../daemon/contract/log.ts';
import { Scratch } from '../../support/scratch.ts';

let scratch: Scratch;
beforeEach(() => {
  scratch = new Scratch(1);
});
afterEach(() => scratch.remove());

const silent = createLog('test', 'silent');

function options(): CoordinatorOptions {
  const flags = { 'state-dir': scratch.stateDir, 'without-cgroups': true, port: '0' };
  return {
    config: parseConfig(flags, {}, scratch.workspaces[0] as string),
    version: 'test',
    daemonCommand: [process.execPath],
    daemonEnv: {},
    runtimeBases: { xdgRuntimeDir: join(scratch.dir, 'run'), tmpDir: scratch.dir },
    openapiPath: '/nowhere',
    log: silent,
    requestStop: () => undefined,
  };
}

/** A directory that is free again: nobody holds it or says so, and nobody has its database open. */
function expectFree(): void {
  acquireStateLock(scratch.stateDir, { pid: process.pid }).unlock();
  expect(readdirSync(scratch.stateDir).filter((name) => /pid$|path$|-wal$/.test(name))).toEqual([]);
}

function makeTooNew(): void {
  const database = openSqlite(join(ensureStateDir(scratch.stateDir), 'coordinator.db'));
  database.pragma('user_version = 999');
  database.close();
}

test('a coordinator whose store is refused gives the state directory back', () => {
  makeTooNew();
  expect(() => Coordinator.open(options())).toThrow(SchemaTooNew);
  expectFree();
});

test('a coordinator that cannot be assembled gives the state directory back and closes the store', async () => {
  const faulty: CoordinatorOptions = {
    ...options(),
    get daemonEnv(): never {
      throw new Error('no environment');
    },
  };
  expect(() => Coordinator.open(faulty)).toThrow('no environment');
  expectFree();
  const next = Coordinator.open(options());
  await next.leave();
  expectFree();
});

test('a sweep whose store is refused gives the state directory back', async () => {
  makeTooNew();
  const { config, ...runtime } = options();
  const swept = sweep(
    { stateDir: config.stateDir, logLevel: 'silent', stopGraceMs: 1 },
    { ...runtime, cwd: '/', createLog: () => silent, say: () => undefined, print: () => undefined },
  );
  await expect(swept).rejects.toThrow(SchemaTooNew);
  expectFree();
});
