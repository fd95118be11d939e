// Starts that are refused: in words, with the exit code that a service manager reads, and nothing left on the disk.
import { chmodSync, chownSync, mkdirSync, readdirSync, statSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:net';
import { networkInterfaces } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { openSqlite } from '../../../coordinator/store/driver.ts';
import { runCommand } from '../../support/command-line.ts';
import { eventually } from '../../support/eventually.ts';
import { coordinatorProcess, endFleets } from '../../support/fleet-process.ts';
import { canChownTo } from '../../support/machine.ts';
import { Scratch } from '../../support/scratch.ts';

const STRANGER = 12_345;
const asRoot = canChownTo(STRANGER) ? test : test.skip;

let scratch: Scratch;
let neighbour: Server | undefined;
beforeEach(() => {
  scratch = new Scratch(1);
});
afterEach(async () => {
  await endFleets();
  neighbour?.close();
  neighbour = undefined;
  scratch.remove();
});

const start = (...flags: readonly string[]) =>
  runCommand(scratch, ['start', '--state-dir', scratch.stateDir, '--port', '0', ...flags]);

describe('a socket path', () => {
  test('over 100 bytes is refused by flag and length before anything listens on a part of it', async () => {
    const path = join(scratch.dir, `${'s'.repeat(110 - scratch.dir.length)}.sock`);
    const { code, stderr } = await start('--socket', path);
    expect([code, stderr]).toEqual([
      2,
      expect.stringMatching(/--socket: .* has 116 bytes, the limit is 100/),
    ]);
    expect(stderr).not.toContain('    at ');
    expect(readdirSync(scratch.dir).filter((name) => name.startsWith('s'))).toEqual([]);
  });

  test('of the admin plane over 100 bytes is refused with the variable that shortens it', async () => {
    const deep = join(scratch.dir, 'r'.repeat(60));
    mkdirSync(deep, { mode: 0o700 });
    const args = ['start', '--state-dir', scratch.stateDir, '--port', '0'];
    const { code, stderr } = await runCommand(scratch, args, { XDG_RUNTIME_DIR: deep });
    expect([code, stderr]).toEqual([
      2,
      expect.stringContaining('set XDG_RUNTIME_DIR to a shorter directory'),
    ]);
    expect(stderr).not.toContain('    at ');
  });

  test('where a file is, is refused and the file stays', async () => {
    const path = join(scratch.dir, 'precious');
    writeFileSync(path, 'kept');
    const { code, stderr } = await start('--socket', path);
    expect([code, stderr]).toEqual([2, expect.stringContaining(`${path} is in the way`)]);
    expect(stderr).not.toContain('    at ');
    expect(statSync(path).size).toBe(4);
  });

  test('where another process listens is refused as taken', async () => {
    const path = join(scratch.dir, 'taken.sock');
    const server = createServer();
    neighbour = server;
    await new Promise<void>((resolve) => server.listen(path, resolve));
    const { code, stderr } = await start('--socket', path);
    expect([code, stderr]).toEqual([3, expect.stringContaining(`another process listens on ${path}`)]);
    expect(stderr).not.toContain('    at ');
  });

  test('is bound for its owner only, whatever the umask is', async () => {
    const path = join(scratch.dir, 'own.sock');
    const server = coordinatorProcess({ scratch, flags: ['--socket', path] });
    await eventually('the line "listening on"', () => server.stderr.includes(`listening on ${path}`));
    expect(statSync(path).mode & 0o777).toBe(0o600);
  });
});

describe.each(['start', 'sweep'])('%s', (name) => {
  const run = () => runCommand(scratch, [name, '--state-dir', scratch.stateDir]);

  test('refuses a database of a newer release without a stack', async () => {
    mkdirSync(scratch.stateDir, { mode: 0o700 });
    const database = openSqlite(join(scratch.stateDir, 'coordinator.db'));
    database.pragma('user_version = 999');
    database.close();
    const { code, stderr } = await run();
    expect([code, stderr]).toEqual([2, expect.stringContaining('has schema version 999')]);
    expect(stderr).not.toContain('    at ');
  });

  test('refuses a state directory that is open to others without a stack', async () => {
    mkdirSync(scratch.stateDir);
    chmodSync(scratch.stateDir, 0o770);
    const { code, stderr } = await run();
    expect([code, stderr]).toEqual([2, expect.stringContaining('is open to other users')]);
    expect(stderr).not.toContain('    at ');
  });

  asRoot('refuses the state directory of another user without a stack', async () => {
    mkdirSync(scratch.stateDir, { mode: 0o700 });
    chownSync(scratch.stateDir, STRANGER, STRANGER);
    const { code, stderr } = await run();
    expect([code, stderr]).toEqual([2, expect.stringContaining(`belongs to user ${STRANGER}`)]);
    expect(stderr).not.toContain('    at ');
  });

  test('refuses a file in the place of the state directory without a stack', async () => {
    writeFileSync(scratch.stateDir, '');
    const { code, stderr } = await run();
    expect([code, stderr]).toEqual([2, expect.stringContaining(`state directory ${scratch.stateDir}`)]);
    expect(stderr).not.toContain('    at ');
  });
});

const hasIpv6 = Object.values(networkInterfaces())
  .flat()
  .some((entry) => entry?.address === '::1');
const inIpv6 = hasIpv6 ? test : test.skip;
const whyNot = hasIpv6 ? '' : ' (skipped: no interface has ::1)';

inIpv6(`--host takes an IPv6 address with or without brackets${whyNot}`, async () => {
  for (const host of ['[::1]', '::1']) {
    const server = coordinatorProcess({ scratch, flags: ['--host', host] });
    await eventually(`listening on ${host}`, () => /listening on http:\/\/\[::1\]:\d+/.test(server.stderr));
    await eventually(`the warning for ${host}`, () => server.stderr.includes('no token is set'));
    const base = /listening on (http:\/\/\[::1\]:\d+)/.exec(server.stderr)?.[1];
    expect((await fetch(`${base}/health`)).status).toBe(200);
    await server.stop();
  }
});
