// What counts as left over by a daemon that ended, and what is spared.
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, expect, test } from '@jest/globals';
import { cgroupNameOf, DaemonCgroup } from '../../../coordinator/launch/cgroup.ts';
import { probeCgroups } from '../../../coordinator/launch/cgroup-probe.ts';
import { readBootId, startTimeOf } from '../../../coordinator/launch/identity.ts';
import { type DaemonMark, handleOf } from '../../../coordinator/launch/process-handle.ts';
import { findStrays, reap } from '../../../coordinator/launch/strays.ts';
import { systemClock } from '../../../daemon/contract/clock.ts';
import { INCARNATION_ENV } from '../../../daemon/contract/handshake.ts';
import { readEnvironValue } from '../../../daemon/contract/proc.ts';
import { eventually, isRunning, moveInto, silent } from './harness.ts';

const probe = probeCgroups();
const cgroups = probe.isUsable ? probe.cgroups : undefined;
const RUNTIME_DIR = '/run/qwen-reap-test';
const INCARNATION = `${Date.now().toString(16).padStart(16, '0')}-${process.pid}`;
const SWEEP = { clock: systemClock, log: silent, sweepTimeoutMs: 3000 };

const children: ChildProcess[] = [];
const directories: string[] = [];
afterEach(async () => {
  const ends = children.splice(0).map((child) => {
    const end = new Promise((resolve) => child.once('exit', resolve));
    child.kill('SIGKILL');
    return child.exitCode === null && child.signalCode === null ? end : undefined;
  });
  await Promise.all(ends);
  for (const path of directories.splice(0)) new DaemonCgroup(path).remove();
});

function sleeper(env: Readonly<Record<string, string>>): number {
  const child = spawn('/bin/sleep', ['600'], { env, stdio: 'ignore', detached: true });
  children.push(child);
  return child.pid ?? 0;
}

async function bearer(): Promise<number> {
  const pid = sleeper({ [INCARNATION_ENV]: INCARNATION });
  // A process has no environment for a moment between its fork and its exec.
  await eventually(() => readEnvironValue(pid, INCARNATION_ENV) === INCARNATION);
  return pid;
}

interface Noted extends Partial<DaemonMark> {
  readonly isEnded?: boolean;
}

function look(noted: Noted | undefined) {
  const { isEnded = true, ...mark } = noted ?? {};
  const handle = handleOf({
    incarnation: INCARNATION,
    bootId: readBootId(),
    socketPath: join(RUNTIME_DIR, `${INCARNATION}.sock`),
    logPath: '/log',
    // Long gone, and nobody's now: no pid is that high.
    pid: 2 ** 22 + 1,
    startTime: 1,
    ...mark,
  });
  return findStrays({
    runtimeDir: RUNTIME_DIR,
    cgroups,
    noted: (incarnation) =>
      noted !== undefined && incarnation === INCARNATION ? { incarnation, isEnded, handle } : undefined,
  });
}

const pidsOf = (report: ReturnType<typeof look>) =>
  report.strays.flatMap(({ processes }) => processes.map(({ pid }) => pid));

test('a bearer of an ended incarnation is left over and is ended', async () => {
  const pid = await bearer();
  const report = look({});
  expect(pidsOf(report)).toEqual([pid]);
  expect(await reap(report.strays, SWEEP)).toBe(1);
  expect(isRunning(pid)).toBe(false);
});

test.each<[string, (pid: number) => Noted]>([
  ['has not ended', () => ({ isEnded: false })],
  ['was of another boot', () => ({ bootId: 'before' })],
  ['began later', (pid) => ({ startTime: startTimeOf(pid) + 1 })],
  ['never had a process that was noted', () => ({ pid: 0, startTime: 0 })],
  ['was noted without a start time', () => ({ startTime: 0 })],
])('a bearer is spared when its incarnation %s', async (_, noted) => {
  const pid = await bearer();
  expect(pidsOf(look(noted(pid)))).toEqual([]);
});

test('a bearer of a mark that is not noted is told apart and spared', async () => {
  const pid = await bearer();
  const report = look(undefined);
  expect(pidsOf(report)).toEqual([]);
  expect(report.unknown.map((stat) => stat.pid)).toContain(pid);
});

test('a tree from which this command was started is spared as a whole', async () => {
  const pid = await bearer();
  const report = look({});
  const within = report.strays.map((strays) => ({ ...strays, spared: 'started from within' }));
  expect(await reap(within, SWEEP)).toBe(0);
  expect(isRunning(pid)).toBe(true);
});

(cgroups === undefined ? test.skip : test)('what only the cgroup knows is left over too', async () => {
  const path = join(
    cgroups?.base ?? '',
    cgroupNameOf({ incarnation: INCARNATION, socketPath: `${RUNTIME_DIR}/x` }),
  );
  directories.push(path);
  const pid = sleeper({});
  moveInto(path, pid);
  const report = look({});
  expect(pidsOf(report)).toEqual([pid]);
  expect(await reap(report.strays, SWEEP)).toBe(1);
  expect([isRunning(pid), existsSync(path)]).toEqual([false, false]);
});
