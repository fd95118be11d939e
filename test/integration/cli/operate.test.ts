// `drain`, `restart`, `why` and their kin: what they refuse themselves, how they tell what the coordinator refuses, and that
// they wait as long as it takes.
import { createServer, type Server, type ServerResponse } from 'node:http';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, jest, test } from '@jest/globals';
import { askCoordinator } from '../../../coordinator/cli/admin-client.ts';
import { CommandError, EXIT } from '../../../coordinator/cli/exit-codes.ts';
import { drain, restart } from '../../../coordinator/cli/operate.ts';
import type { Runtime } from '../../../coordinator/cli/runtime.ts';
import { ensureStateDir } from '../../../coordinator/launch/directories.ts';
import { acquireStateLock, type StateLock } from '../../../coordinator/store/lock.ts';
import { runCommand } from '../../support/command-line.ts';
import { within } from '../../support/eventually.ts';
import { endFleets, startCoordinator } from '../../support/fleet-process.ts';
import { Scratch } from '../../support/scratch.ts';

let scratch: Scratch;
beforeEach(() => {
  scratch = new Scratch(1);
});
afterEach(async () => {
  await endFleets();
  scratch.remove();
});

const command = (name: string, ...args: readonly string[]) =>
  runCommand(scratch, [name, '--state-dir', scratch.stateDir, ...args]);

describe('restart of one workspace', () => {
  test.each([[['--rolling']], [['--at-once', '2']]])(
    'refuses %j, which is about the whole fleet',
    async (flags) => {
      const { code, stderr } = await command('restart', scratch.workspaces[0] as string, ...flags);
      expect([code, stderr]).toEqual([
        2,
        `qwen-coordinator: ${flags[0]} restarts every running daemon, but one workspace is named ` +
          `(${scratch.workspaces[0]}): give only one of the two\n`,
      ]);
    },
  );
});

test('what the coordinator refuses is told in its words alone, as a wrong argument', async () => {
  await startCoordinator({ scratch });
  const elsewhere = join(scratch.dir, 'mistyped');
  for (const name of ['drain', 'undrain', 'restart', 'why']) {
    const { code, stderr } = await command(name, elsewhere);
    expect([name, code, stderr]).toEqual([
      name,
      2,
      `qwen-coordinator: ${elsewhere} is not a workspace of this coordinator; "qwen-coordinator status" lists them\n`,
    ]);
  }
  const { code, stderr } = await command('backup', join(scratch.stateDir, 'coordinator.db'));
  expect([code, stderr]).toEqual([
    2,
    expect.stringMatching(/^qwen-coordinator: .*never overwrites a file\n$/),
  ]);
  const settings = await command('workspace', 'set', elsewhere, 'idleTimeout=1');
  expect(settings.code).toBe(2);
});

describe('an admin plane', () => {
  let lock: StateLock;
  let server: Server;
  let answer: (res: ServerResponse) => void;
  const target = () => ({
    stateDir: scratch.stateDir,
    runtimeBases: { xdgRuntimeDir: undefined, tmpDir: scratch.dir },
  });
  const printed: string[] = [];
  const runtime = { cwd: '/', print: (text: string) => printed.push(text) } as unknown as Runtime;

  beforeEach(async () => {
    const stateDir = ensureStateDir(scratch.stateDir);
    const adminPath = join(stateDir, 'admin.sock');
    lock = acquireStateLock(stateDir, { pid: process.pid, adminPath });
    server = createServer((req, res) => {
      req.resume().on('end', () => answer(res));
    });
    await new Promise<void>((resolve) => server.listen(adminPath, resolve));
  });
  afterEach(async () => {
    jest.restoreAllMocks();
    printed.length = 0;
    await new Promise((resolve) => server.close(resolve));
    lock.unlock();
  });

  const refused = async (status: number, body: string) => {
    answer = (res) => res.writeHead(status).end(body);
    const error = await askCoordinator(target(), 'GET', '/admin/status').catch((thrown: unknown) => thrown);
    if (!(error instanceof CommandError)) throw new Error(`${status} was not refused`);
    return [error.exitCode, error.message];
  };

  test('that fails is not the fault of the arguments', async () => {
    const body = '{"error":"the disk is full","code":"storage_unavailable"}';
    expect(await refused(507, body)).toEqual([EXIT.unexpected, 'the disk is full']);
    expect(await refused(409, '{"error":"in use"}')).toEqual([EXIT.usage, 'in use']);
  });

  test('of another version is quoted', async () => {
    for (const body of ['<pre>Cannot GET</pre>', 'null', '"text"'])
      expect(await refused(404, body)).toEqual([EXIT.unexpected, `the coordinator answered 404: ${body}`]);
  });

  test('may take any time for a drain and a restart, and only a while for a look', async () => {
    // Every deadline is over at once: only who sets none gets an answer.
    jest.spyOn(AbortSignal, 'timeout').mockImplementation(() => AbortSignal.abort());
    answer = (res) => res.end('{"restarted":[]}');
    await within('the drain', 20_000, drain(target(), '/w', { reason: undefined, drainMs: 1 }, runtime));
    for (const workspace of ['/w', undefined])
      await within(
        'the restart',
        20_000,
        restart(target(), workspace, { atOnce: undefined, drainMs: undefined }, runtime),
      );
    expect(printed).toHaveLength(3);
    await expect(askCoordinator(target(), 'GET', '/admin/status')).rejects.toThrow('did not answer within');
  });
});
