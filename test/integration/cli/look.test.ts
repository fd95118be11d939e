// `status` and `stop`: they look for a coordinator and never make what they look for.
import { chmodSync, chownSync, existsSync, mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { runCommand } from '../../support/command-line.ts';
import { endFleets, startCoordinator } from '../../support/fleet-process.ts';
import { canChownTo } from '../../support/machine.ts';
import { Scratch } from '../../support/scratch.ts';

const STRANGER = 12_345;
const asRoot = canChownTo(STRANGER) ? test : test.skip;

let scratch: Scratch;
beforeEach(() => {
  scratch = new Scratch(1);
});
afterEach(async () => {
  await endFleets();
  scratch.remove();
});

const command = (name: string, env: Readonly<Record<string, string | undefined>> = {}) =>
  runCommand(scratch, [name, '--state-dir', scratch.stateDir], env);

describe.each(['status', 'stop'])('%s without a coordinator', (name) => {
  test('exits with 4 and makes neither a state directory nor a runtime directory', async () => {
    const { code, stderr } = await command(name);
    expect([code, stderr]).toEqual([
      4,
      `qwen-coordinator: no coordinator is running on the state directory ${scratch.stateDir}\n`,
    ]);
    expect(existsSync(scratch.stateDir)).toBe(false);
    expect(readdirSync(join(scratch.dir, 'run'))).toEqual([]);
  });

  test('exits with 4 on the state directory of one that has ended', async () => {
    await (await startCoordinator({ scratch })).stop();
    expect((await command(name)).code).toBe(4);
  });

  test('refuses a state directory that is open to others, without a stack', async () => {
    mkdirSync(scratch.stateDir);
    chmodSync(scratch.stateDir, 0o777);
    const { code, stderr } = await command(name);
    expect([code, stderr]).toEqual([2, expect.stringContaining(`run "chmod 700 '${scratch.stateDir}'"`)]);
    expect(stderr).not.toContain('    at ');
  });

  asRoot("says whose another user's state directory is, and never to take it", async () => {
    mkdirSync(scratch.stateDir, { mode: 0o700 });
    chownSync(scratch.stateDir, STRANGER, STRANGER);
    const { code, stderr } = await command(name);
    expect(code).toBe(2);
    expect(stderr).toContain(`${scratch.stateDir} belongs to user ${STRANGER}`);
    expect(stderr).toContain('only a coordinator of that user can run on it');
    expect(stderr).not.toMatch(/chown| at /);
  });
});

describe('a coordinator that was started with another XDG_RUNTIME_DIR', () => {
  const elsewhere = () => {
    const path = join(scratch.dir, 'elsewhere');
    mkdirSync(path, { mode: 0o700 });
    return path;
  };

  test('is found by what it noted in its state directory', async () => {
    const { pid } = await startCoordinator({ scratch });
    const { code, stdout } = await command('status', { XDG_RUNTIME_DIR: elsewhere() });
    expect([code, stdout]).toEqual([0, expect.stringContaining(`pid ${pid}`)]);
  });

  test('is stopped', async () => {
    const server = await startCoordinator({ scratch });
    const { code, stdout } = await command('stop', { XDG_RUNTIME_DIR: elsewhere() });
    expect([code, stdout]).toEqual([0, 'stopped\n']);
    expect((await server.ended()).code).toBe(0);
  });

  test('is named with its pid and the variable where its note is gone', async () => {
    const { pid } = await startCoordinator({ scratch });
    rmSync(join(scratch.stateDir, 'admin.path'));
    const { code, stderr } = await command('status', { XDG_RUNTIME_DIR: elsewhere() });
    expect(code).toBe(1);
    expect(stderr).toContain(`a coordinator is running as pid ${pid}`);
    expect(stderr).toContain(`its admin socket is not at ${scratch.dir}/elsewhere/`);
    expect(stderr).toContain('XDG_RUNTIME_DIR');
  });
});

test('a running coordinator whose admin socket was removed is not taken for none', async () => {
  const server = await startCoordinator({ scratch });
  rmSync(join(scratch.dir, 'run', 'qwen-coordinator'), { recursive: true });
  const { code, stderr } = await command('status');
  expect([code, stderr]).toEqual([
    1,
    expect.stringContaining(`a coordinator is running as pid ${server.pid}`),
  ]);
});

test('the note of a killed coordinator leads nobody to a socket that somebody else put there', async () => {
  const server = await startCoordinator({ scratch });
  await server.kill();
  const trap = join(scratch.dir, 'trap', 'hash');
  mkdirSync(trap, { recursive: true });
  chmodSync(trap, 0o777);
  writeFileSync(join(scratch.stateDir, 'admin.path'), `${join(trap, 'admin.sock')}\n`);
  const { code, stderr } = await command('status');
  expect([code, stderr]).toEqual([2, expect.stringContaining('is open to other users')]);
});

test.each(['abc', '-1', '1.5', ''])(
  'stop refuses --timeout "%s" by the name of the flag',
  async (timeout) => {
    const { code, stderr } = await runCommand(scratch, ['stop', `--timeout=${timeout}`]);
    expect([code, stderr]).toEqual([2, expect.stringContaining('--timeout must be a whole number')]);
    expect(stderr).not.toContain('    at ');
  },
);
