import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, rmSync } from 'node:fs';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { writeHandle } from '../../../coordinator/launch/handle.ts';
import { startTimeOf } from '../../../coordinator/launch/identity.ts';
import { type DaemonMark, handleOf, markFrom } from '../../../coordinator/launch/process-handle.ts';
import { bundleScript } from '../../support/bundle-script.ts';
import { Bench, isRunning, markOf, type Script } from './harness.ts';

let script: Awaited<ReturnType<typeof bundleScript>>;
let bench: Bench;
let children: ChildProcess[] = [];

beforeAll(async () => {
  script = await bundleScript('test/integration/launch/coordinator-child.ts');
});
afterAll(() => script.remove());
beforeEach(() => {
  bench = new Bench();
});
afterEach(async () => {
  for (const child of children) child.kill('SIGKILL');
  children = [];
  await bench.close();
});

/** Long enough for an answer on a machine that stands still for a moment: a wrong one is waited out. */
const PATIENT = { identityTimeoutMs: 1500 };

/** A daemon whose coordinator was killed with -9. */
async function orphan(daemonScript: Script = {}): Promise<DaemonMark> {
  const { clock, log, ...options } = bench.options(daemonScript);
  const args = JSON.stringify({ options, spec: bench.spec() });
  const coordinator = spawn(process.execPath, [script.path, args], { stdio: ['ignore', 'pipe', 'inherit'] });
  children.push(coordinator);
  const [line] = await once(coordinator.stdout, 'data');
  const closed = once(coordinator, 'exit');
  coordinator.kill('SIGKILL');
  await closed;
  const handle = String(line).trim();
  bench.endsToo(handle);
  return markFrom(handle);
}

/** Some process of ours that is no daemon. */
function bystander(): number {
  const child = spawn('sleep', ['600'], { stdio: 'ignore' });
  children.push(child);
  return child.pid ?? 0;
}

/** A mark as the bench's own daemon would have it, but for its process. */
const aMark = (more: Partial<DaemonMark>): DaemonMark => ({
  ...markFrom(bench.launcher().plan(bench.spec())),
  ...more,
});

const adopt = (mark: DaemonMark, more: Parameters<Bench['launcher']>[1] = {}, secret?: string) =>
  bench.launcher({}, more).adopt({
    ...bench.known(handleOf(mark)),
    incarnation: mark.incarnation,
    ...(secret !== undefined && { secret }),
  });

/** What is left of a daemon that is gone and whose log has `lastLines`. */
const gone = (strays: number, lastLines: readonly string[], hasRun = true) => ({
  verdict: 'gone',
  hasRun,
  exit: { code: null, signal: null, lastLines, strays, oomKills: null, peakBytes: null, hostOomKills: null },
});

/** Adopts what must be alive, for this test and for its clean-up. */
async function adoptAlive(mark: DaemonMark) {
  const found = await adopt(mark);
  if (found.verdict !== 'alive') throw new Error(JSON.stringify(found));
  expect(found.address).toEqual({ kind: 'unix', path: mark.socketPath });
  return found.process;
}

describe('kill -9 of the coordinator', () => {
  test('leaves the daemon running, to be adopted and ended by the next one', async () => {
    const mark = await orphan({ agent: true });
    const agent = await bench.agentPids();
    expect(isRunning(mark.pid)).toBe(true);
    const daemon = await adoptAlive(mark);
    expect(markOf(daemon)).toEqual(mark);
    const exit = await daemon.terminate(5000);
    expect(exit).toMatchObject({ code: null, signal: null, strays: 5 });
    expect(exit.lastLines.at(-1)).toBe('got SIGTERM');
    expect([mark.pid, ...agent].filter(isRunning)).toEqual([]);
  });

  test('before it noted the pid: the daemon is found by its incarnation', async () => {
    const mark = await orphan();
    const daemon = await adoptAlive({ ...mark, pid: 0, startTime: 0 });
    expect(markOf(daemon)).toEqual(mark);
    await daemon.terminate(5000);
  });

  test('and a pid in its handle that no process can have: the daemon is found by its incarnation', async () => {
    const mark = await orphan();
    const known = bench.known(handleOf(mark).replace(`"pid":${mark.pid}`, '"pid":-1'));
    const found = await bench.launcher().adopt(known);
    if (found.verdict !== 'alive') throw new Error(JSON.stringify(found));
    expect(markOf(found.process)).toEqual(mark);
    await found.process.terminate(5000);
  });

  test('and the handle of another incarnation in its row: nothing is proven, and nothing is ended', async () => {
    const mark = await orphan();
    const known = bench.known(handleOf({ ...mark, incarnation: 'another-1' }));
    expect(await bench.launcher().adopt(known)).toEqual({
      verdict: 'unverifiable',
      why: 'its launch handle is that of another-1: put a backup of the database in place of this one',
    });
    expect(isRunning(mark.pid)).toBe(true);
  });

  test('before a daemon was made: none has run, and a start may still make one', async () => {
    expect(await adopt(aMark({}))).toEqual(gone(0, [], false));
  });

  test('the death of an adopted daemon is seen, and its agent goes with it', async () => {
    const mark = await orphan({ agent: true });
    const agent = await bench.agentPids();
    const daemon = await adoptAlive(mark);
    process.kill(mark.pid, 'SIGKILL');
    expect(await daemon.exited).toMatchObject({ code: null, signal: null, strays: 5 });
    expect(agent.filter(isRunning)).toEqual([]);
  });
});

describe('a daemon that died unobserved', () => {
  test('is gone, and what it left behind is ended', async () => {
    const mark = await orphan({ agent: true });
    const agent = await bench.agentPids();
    process.kill(mark.pid, 'SIGKILL');
    const adoption = await adopt(mark);
    expect(adoption).toMatchObject({ verdict: 'gone', hasRun: true, exit: { strays: 5 } });
    expect(agent.filter(isRunning)).toEqual([]);
    expect(existsSync(mark.socketPath)).toBe(false);
  });

  test('of another boot is gone without a look at any process', async () => {
    const mark = await orphan();
    expect(await adopt({ ...mark, bootId: 'another' })).toEqual(gone(0, ['listening']));
    expect(isRunning(mark.pid)).toBe(true);
  });

  test('leaves its pid to another process, which is never signalled', async () => {
    const pid = bystander();
    const mark = aMark({ pid, startTime: startTimeOf(pid) - 1 });
    expect(await adopt(mark)).toMatchObject({ verdict: 'gone', hasRun: true, exit: { strays: 0 } });
    expect(isRunning(pid)).toBe(true);
  });

  test('spares a daemon that another state directory runs under the same name', async () => {
    const theirs = bench.start({ agent: true });
    await theirs.ready;
    const agent = await bench.agentPids();
    const pid = bystander();
    const mark = aMark({ pid, startTime: 1, socketPath: `${bench.dir}/old.sock` });
    expect(await adopt(mark)).toMatchObject({ verdict: 'gone', hasRun: true, exit: { strays: 0 } });
    expect([markOf(theirs.process).pid, ...agent].filter(isRunning)).toHaveLength(6);
  });
});

describe('a daemon that does not answer', () => {
  test('is proven by its arguments and its environment, also where its socket is gone, and can be ended', async () => {
    for (const isSocketGone of [false, true]) {
      const mark = await orphan({ identity: 'mute' });
      if (isSocketGone) rmSync(mark.socketPath);
      const adoption = await adopt(mark);
      expect(adoption.verdict).toBe('alive');
      if (adoption.verdict !== 'alive') throw new Error('not alive');
      await adoption.process.terminate(100);
      expect(isRunning(mark.pid)).toBe(false);
    }
  });
});

describe('a process that is not proven to be the daemon', () => {
  test('with right pid and start time but nobody on the socket is left alone, and the reason names both', async () => {
    const pid = bystander();
    const adoption = await adopt(aMark({ pid, startTime: startTimeOf(pid) }));
    expect(adoption).toMatchObject({ verdict: 'unverifiable' });
    expect(adoption).toMatchObject({ why: expect.stringMatching(new RegExp(`${pid}.*\\.sock.*ENOENT`)) });
    expect(isRunning(pid)).toBe(true);
  });

  test('whose socket is somebody else’s is left alone', async () => {
    const mark = await orphan({ identity: 'other' });
    const adoption = await adopt(mark, PATIENT);
    expect(adoption).toMatchObject({ verdict: 'unverifiable', why: expect.stringMatching(/somebody-else/) });
    expect(isRunning(mark.pid)).toBe(true);
  });

  test('which answered wrongly once and then no more is left alone', async () => {
    const mark = await orphan({ identity: 'other-then-mute' });
    const adoption = await adopt(mark, PATIENT);
    expect(adoption).toMatchObject({ verdict: 'unverifiable', why: expect.stringMatching(/somebody-else/) });
    expect(isRunning(mark.pid)).toBe(true);
  });

  test('which is mute and has another daemon’s arguments is left alone', async () => {
    const mark = await orphan({ identity: 'mute' });
    const adoption = await adopt({ ...mark, incarnation: `${mark.incarnation}-other` });
    expect(adoption).toMatchObject({
      verdict: 'unverifiable',
      why: expect.stringMatching(/no answer within/),
    });
    expect(isRunning(mark.pid)).toBe(true);
  });

  test('a wrong secret proves nothing', async () => {
    const mark = await orphan();
    const adoption = await adopt(mark, PATIENT, 'guessed');
    expect(adoption).toMatchObject({ verdict: 'unverifiable', why: expect.stringMatching(/status 401/) });
  });
});

test('a daemon of another launcher is left alone, with the reason', async () => {
  const known = bench.known(writeHandle('scheduler', 1, { job: 'j-7' }));
  expect(await bench.launcher().adopt(known)).toEqual({
    verdict: 'unverifiable',
    why: expect.stringMatching(/^the launcher "scheduler" .* this coordinator uses "process": start .* stop/),
  });
  expect(bench.launcher().factsOf(known.handle)).toEqual({ pid: null });
});
