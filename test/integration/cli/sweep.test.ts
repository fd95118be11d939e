// `sweep`: a service's clean-up, after the coordinator and perhaps much of its configuration have gone.
import { existsSync, rmSync } from 'node:fs';
import { afterEach, beforeEach, expect, test } from '@jest/globals';
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
