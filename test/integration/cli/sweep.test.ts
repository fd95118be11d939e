// `sweep`: a service's clean-up, after the coordinator and perhaps much of its configuration have gone.
import { existsSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { openSqlite } from '../../../coordinator/store/driver.ts';
import { runCommand } from '../../support/command-line.ts';
import { eventually } from '../../support/eventually.ts';
import { endFleets, startCoordinator } from '../../support/fleet-process.ts';
import { isRunning, Scratch } from '../../support/scratch.ts';

let scratch: Scratch;
beforeEach(() => {
  scratch = new Scratch(1);
});
afterEach(async () => {
  await endFleets();
  scratch.remove();
});

const sweep = (env: Readonly<Record<string, string>> = {}) =>
  runCommand(scratch, ['sweep', '--state-dir', scratch.stateDir], env);

test('ends what a killed coordinator left, although a configured workspace is gone', async () => {
  const server = await startCoordinator({ scratch });
  const body = JSON.stringify({ cwd: server.workspace });
  const headers = { 'content-type': 'application/json' };
  expect((await fetch(`${server.baseUrl}/session`, { method: 'POST', headers, body })).status).toBe(200);
  const daemon = (await server.diagnosis(0)).pid ?? 0;
  await server.kill();
  rmSync(server.workspace, { recursive: true });

  const { code, stderr } = await sweep({
    QWEN_COORDINATOR_WORKSPACE: server.workspace,
    QWEN_COORDINATOR_PORT: 'none',
  });
  expect([code, stderr]).toEqual([0, expect.stringMatching(/^ended: /m)]);
  await eventually('the end of the daemon', () => !isRunning(daemon));
});

test('a daemon that cannot be judged is named by doctor, and keeps sweep from ending no other', async () => {
  scratch.remove();
  scratch = new Scratch(3);
  const server = await startCoordinator({ scratch });
  const headers = { 'content-type': 'application/json' };
  for (const cwd of server.workspaces)
    await fetch(`${server.baseUrl}/session`, { method: 'POST', headers, body: JSON.stringify({ cwd }) });
  const [foreign, damaged, sound] = await Promise.all([0, 1, 2].map((at) => server.diagnosis(at)));
  await server.kill();
  const change = (assignment: string, incarnation: string | null | undefined) => {
    const sqlite = openSqlite(join(scratch.stateDir, 'coordinator.db'));
    sqlite.prepare(`UPDATE daemons SET ${assignment} WHERE incarnation = ?`).run(incarnation);
    sqlite.close();
  };
  change(`launch_handle = '{"kind":"scheduler","version":1}'`, foreign?.incarnation);
  change(`secret = '{"only-between-us'`, damaged?.incarnation);

  const doctor = await runCommand(scratch, ['doctor', '--agent', 'demo', '--state-dir', scratch.stateDir]);
  expect(doctor.stdout).toMatch(
    new RegExp(
      `^warn +daemons +${foreign?.incarnation} may run without a coordinator: the launcher "scheduler"`,
      'm',
    ),
  );

  const { code, stderr } = await sweep();
  expect(code).toBe(0);
  expect(stderr).toMatch(new RegExp(`^ended: ${sound?.incarnation}$`, 'm'));
  expect(stderr).toMatch(
    new RegExp(`^left alone: ${damaged?.incarnation}, the stored secret cannot be read$`, 'm'),
  );
  expect(stderr).toMatch(new RegExp(`^left alone: ${foreign?.incarnation}, the launcher "scheduler" `, 'm'));
  const isThere = [foreign, damaged, sound].map((daemon) => isRunning(daemon?.pid ?? 0));
  expect(isThere).toEqual([true, true, false]);
  await scratch.killAll();
});

test('makes nothing where there is nothing to end', async () => {
  const { code, stderr } = await sweep();
  expect([code, stderr]).toEqual([0, `nothing to end: there is no state directory ${scratch.stateDir}\n`]);
  expect(existsSync(scratch.stateDir)).toBe(false);
});

test('refuses while a coordinator runs', async () => {
  const { pid } = await startCoordinator({ scratch });
  const { code, stderr } = await sweep();
  expect([code, stderr]).toEqual([3, expect.stringContaining(`pid ${pid}`)]);
});

test('takes what it reads as flags too, and nothing else', async () => {
  const run = (...flags: readonly string[]) =>
    runCommand(scratch, ['sweep', '--state-dir', scratch.stateDir, ...flags]);
  expect((await run('--log-level', 'warn', '--stop-grace-ms', '700')).code).toBe(0);
  expect((await run('--stop-grace-ms', 'soon')).stderr).toContain('--stop-grace-ms must be');
  expect((await run('--log-level', 'loud')).stderr).toContain('--log-level must be one of');
  expect((await run('--port', '1')).code).toBe(2);
});

test('a wrong number that it needs is refused by name', async () => {
  const { code, stderr } = await sweep({ QWEN_COORDINATOR_STOP_GRACE_MS: 'soon' });
  expect([code, stderr]).toEqual([2, expect.stringContaining('--stop-grace-ms must be')]);
});
