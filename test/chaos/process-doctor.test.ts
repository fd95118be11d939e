// `doctor` over the built fleet: what it says of a healthy host, of a broken one, and whom `--reap` ends.
import { type ChildProcess, spawn } from 'node:child_process';
import { chmodSync, closeSync, openSync, statSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, describe, expect, test } from '@jest/globals';
import type { Finding } from '../../coordinator/cli/doctor/finding.ts';
import { INCARNATION_ENV } from '../../daemon/contract/handshake.ts';
import { runCommand } from '../support/command-line.ts';
import { eventually } from '../support/eventually.ts';
import { endFleets, type Server, startCoordinator } from '../support/fleet-process.ts';
import { isRunning, Scratch } from '../support/scratch.ts';
import { newSession } from '../support/wire-client.ts';

const children: ChildProcess[] = [];
const scratches: Scratch[] = [];
afterEach(async () => {
  for (const child of children.splice(0)) child.kill('SIGKILL');
  await endFleets();
  for (const scratch of scratches.splice(0)) scratch.remove();
});

interface Diagnosis {
  readonly code: number | null;
  readonly status: string;
  /** What was said of a check, by its name. */
  of(check: string): Finding[];
}

async function doctorIn(scratch: Scratch, ...flags: readonly string[]): Promise<Diagnosis> {
  const args = ['doctor', '--json', '--agent', 'demo', '--state-dir', scratch.stateDir, ...flags];
  const { code, stdout, stderr } = await runCommand(scratch, args);
  if (!stdout.startsWith('{')) throw new Error(`doctor said: ${stdout}${stderr}`);
  const { status, findings } = JSON.parse(stdout) as { status: string; findings: Finding[] };
  return { code, status, of: (check) => findings.filter((finding) => finding.check === check) };
}

/** A process that carries a mark of an incarnation, as what a daemon started does. */
async function bearer(incarnation: string): Promise<number> {
  const env = { PATH: process.env.PATH ?? '', [INCARNATION_ENV]: incarnation };
  const child = spawn('sleep', ['600'], { env, stdio: 'ignore', detached: true });
  children.push(child);
  const pid = child.pid ?? 0;
  await eventually('the process', () => isRunning(pid));
  return pid;
}

async function startedDaemon(server: Server): Promise<string> {
  await newSession(server.baseUrl, server.workspace);
  return (await server.diagnosis(0)).incarnation ?? '';
}

describe('a host where nothing is wrong', () => {
  test('before the first start is healthy, and nothing is made', async () => {
    const scratch = new Scratch(1);
    scratches.push(scratch);
    const { code, of } = await doctorIn(scratch);
    expect(code).toBe(0);
    expect(of('state directory')).toMatchObject([
      { level: 'ok', text: expect.stringMatching(/does not exist yet/) },
    ]);
    expect(statSync(scratch.stateDir, { throwIfNoEntry: false })).toBeUndefined();
  });

  test('with a running coordinator and a daemon is healthy', async () => {
    const server = await startCoordinator({ workspaces: 1 });
    await startedDaemon(server);
    const { code, of } = await doctorIn(server.scratch, '--reap');
    expect(of('strays')[0]).toMatchObject({ level: 'ok', text: 'none' });
    expect(of('database')).toMatchObject([{ level: 'ok' }]);
    expect(of('coordinator')[0]).toMatchObject({ level: 'ok', text: expect.stringMatching(`${server.pid}`) });
    expect(of('daemons')).toEqual([]);
    expect(of('sockets')).toMatchObject([{ level: 'ok' }]);
    expect(code).toBe(0);
    expect((await server.diagnosis(0)).state).toBe('ready');
  });

  test('is told a person in one line a check', async () => {
    const scratch = new Scratch(1);
    scratches.push(scratch);
    const { stdout } = await runCommand(scratch, [
      'doctor',
      '--agent',
      'demo',
      '--state-dir',
      scratch.stateDir,
    ]);
    const lines = stdout.trimEnd().split('\n');
    expect(lines.filter((line) => !/^(?:ok {2}|warn|fail) {2}\S|^ +-> \S/.test(line))).toEqual([]);
    expect(lines.length).toBeGreaterThan(7);
  });
});

describe('what is left over', () => {
  test('is reaped where it is proven: of an ended daemon, no older than it, and nothing else', async () => {
    const server = await startCoordinator({ workspaces: 1 });
    const { id } = await server.diagnosis(0);
    // Carries the name that the first daemon will get, but was there before it.
    const older = await bearer(`${id}-1`);
    await eventually(
      'another tick of the start time',
      () => new Promise<true>((resolve) => setTimeout(resolve, 50, true)),
    );
    const incarnation = await startedDaemon(server);
    expect(incarnation).toBe(`${id}-1`);
    await server.stop();
    const stray = await bearer(incarnation);
    const unknown = await bearer('ffffffffffffffff-7');

    const found = await doctorIn(server.scratch);
    expect(found.of('strays')[0]).toMatchObject({
      level: 'fail',
      text: expect.stringMatching(`pids ${stray} `),
    });
    expect(found.code).toBe(1);
    expect([older, stray, unknown].every(isRunning)).toBe(true);

    const reaped = await doctorIn(server.scratch, '--reap');
    expect(reaped.of('reaped')).toMatchObject([{ text: expect.stringMatching(/^1 processes/) }]);
    expect([older, stray, unknown].map(isRunning)).toEqual([true, false, true]);
    expect(reaped.code).toBe(0);
  });

  test('is no daemon that waits for the next coordinator', async () => {
    const server = await startCoordinator({ workspaces: 1 });
    await startedDaemon(server);
    const { pid } = await server.diagnosis(0);
    await server.kill();
    const { of, code } = await doctorIn(server.scratch, '--reap');
    expect(of('daemons')).toMatchObject([{ level: 'warn', text: expect.stringMatching(`${pid}`) }]);
    expect(isRunning(pid ?? 0)).toBe(true);
    expect(code).toBe(0);
  });

  test('is not reaped by a command that runs inside it', async () => {
    const server = await startCoordinator({ workspaces: 1 });
    const incarnation = await startedDaemon(server);
    await server.stop();
    const { code, stdout } = await runCommand(
      server.scratch,
      ['doctor', '--reap', '--json', '--agent', 'demo', '--state-dir', server.stateDir],
      { [INCARNATION_ENV]: incarnation },
    );
    expect(JSON.parse(stdout).status).not.toBe('fail');
    expect(code).toBe(0);
  });
});

describe('a host where something is wrong', () => {
  test('is told which: agent, state directory, database', async () => {
    const server = await startCoordinator({ workspaces: 1 });
    await startedDaemon(server);
    await server.stop();
    const { scratch } = server;

    const agent = await doctorIn(scratch, '--agent', 'no-such-agent --acp');
    expect(agent.of('agent')).toMatchObject([
      { level: 'fail', text: expect.stringMatching(/"no-such-agent" is not found/) },
    ]);
    expect(agent.code).toBe(1);

    const fd = openSync(join(scratch.stateDir, 'coordinator.db'), 'r+');
    for (let page = 1; page < 8; page += 1) writeSync(fd, Buffer.alloc(512, 0xff), 0, 512, page * 4096);
    closeSync(fd);
    const database = await doctorIn(scratch);
    expect(database.of('database')).toMatchObject([{ level: 'fail' }]);
    expect(database.code).toBe(1);

    chmodSync(scratch.stateDir, 0o777);
    const open = await doctorIn(scratch);
    expect(open.of('state directory')).toMatchObject([
      { level: 'fail', text: expect.stringMatching(/chmod 700/) },
    ]);
    expect(open.code).toBe(1);
  });
});
