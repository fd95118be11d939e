// Everything that a daemon started ends with it, whatever way it took to get away and whatever way the daemon ends.
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import {
  type Cgroups,
  cgroupNameOf,
  DaemonCgroup,
  encloseDaemon,
} from '../../../coordinator/launch/cgroup.ts';
import { probeCgroups } from '../../../coordinator/launch/cgroup-probe.ts';
import type { DaemonExit, Launch } from '../../../coordinator/launch/launcher.ts';
import { type DaemonMark, handleOf, markFrom } from '../../../coordinator/launch/process-handle.ts';
import { readCgroupPath } from '../../../daemon/contract/proc.ts';
import { bundleScript } from '../../support/bundle-script.ts';
import { ESCAPES, ESCAPING_AGENT, escapedIn } from '../../support/escapes.ts';
import { Bench, eventually, isRunning, markOf, moveInto, type Script } from './harness.ts';

const probe = probeCgroups();
const HIDDEN = ESCAPES.filter(({ isHidden }) => isHidden).map(({ name }) => name);

let script: Awaited<ReturnType<typeof bundleScript>>;
const benches: Bench[] = [];
const coordinators: ChildProcess[] = [];
const escaped: number[] = [];

beforeAll(async () => {
  script = await bundleScript('test/integration/launch/coordinator-child.ts');
});
afterAll(() => script.remove());
afterEach(async () => {
  for (const coordinator of coordinators.splice(0)) coordinator.kill('SIGKILL');
  for (const bench of benches.splice(0)) await bench.close();
  // The hidden ones, where there is no cgroup: their pids are their own words.
  for (const pid of escaped.splice(0)) if (isRunning(pid)) process.kill(pid, 'SIGKILL');
});

function benchWith(cgroups: Cgroups | undefined): Bench {
  const bench = new Bench(cgroups);
  benches.push(bench);
  return bench;
}

/** All escapes of the bench's daemon, by name. */
async function escapesOf(bench: Bench): Promise<Map<string, number>> {
  const found = await eventually(() => {
    const text = existsSync(bench.logPath) ? readFileSync(bench.logPath, 'utf8') : '';
    const pids = escapedIn(text);
    return text.includes('agent is up') && pids.size === ESCAPES.length + 1 && pids;
  });
  escaped.push(...found.values());
  return found;
}

async function started(bench: Bench, more: Script = {}): Promise<Launch['process']> {
  const { process: daemon, ready } = bench.start({ agentScript: ESCAPING_AGENT, ...more });
  await ready;
  return daemon;
}

/** The mark of a daemon whose coordinator was killed once everything had got away. */
async function orphaned(bench: Bench): Promise<DaemonMark> {
  const { clock, log, ...options } = bench.options({ agentScript: ESCAPING_AGENT });
  const args = JSON.stringify({ options, spec: bench.spec() });
  const coordinator = spawn(process.execPath, [script.path, args], { stdio: ['ignore', 'pipe', 'inherit'] });
  coordinators.push(coordinator);
  const [line] = await once(coordinator.stdout, 'data');
  await escapesOf(bench);
  const closed = once(coordinator, 'exit');
  coordinator.kill('SIGKILL');
  await closed;
  const handle = String(line).trim();
  bench.endsToo(handle);
  return markFrom(handle);
}

const plannedOn = (bench: Bench) => markFrom(bench.launcher().plan(bench.spec()));

const adopt = (bench: Bench, mark: DaemonMark) => bench.launcher().adopt(bench.known(handleOf(mark)));

type Ended = Pick<DaemonExit, 'strays' | 'oomKills' | 'peakBytes'>;

const ENDS: Readonly<Record<string, (bench: Bench) => Promise<Ended>>> = {
  async 'it is asked to stop'(bench) {
    const daemon = await started(bench);
    await escapesOf(bench);
    return daemon.terminate(5000);
  },
  async 'it does not stop in time'(bench) {
    const daemon = await started(bench, { ignoreTerm: true });
    await escapesOf(bench);
    return daemon.terminate(50);
  },
  async 'it is frozen and does not stop in time'(bench) {
    const daemon = await started(bench);
    await escapesOf(bench);
    process.kill(markOf(daemon).pid, 'SIGSTOP');
    return daemon.terminate(50);
  },
  async 'it is killed with -9'(bench) {
    const daemon = await started(bench);
    await escapesOf(bench);
    process.kill(markOf(daemon).pid, 'SIGKILL');
    return daemon.exited;
  },
  async 'a second signal comes'(bench) {
    const daemon = await started(bench, { ignoreTerm: true });
    await escapesOf(bench);
    void daemon.terminate(60_000);
    daemon.killNow();
    return daemon.exited;
  },
  async 'the coordinator is killed with -9 and the next one stops it'(bench) {
    const adoption = await adopt(bench, await orphaned(bench));
    if (adoption.verdict !== 'alive') throw new Error(JSON.stringify(adoption));
    return adoption.process.terminate(5000);
  },
  async 'coordinator and daemon are killed with -9 and the next one buries it'(bench) {
    const mark = await orphaned(bench);
    process.kill(mark.pid, 'SIGKILL');
    await eventually(() => !isRunning(mark.pid));
    const adoption = await adopt(bench, mark);
    if (adoption.verdict !== 'gone') throw new Error(JSON.stringify(adoption));
    return adoption.exit;
  },
};

describe.each(Object.entries(ENDS))('when %s', (_, end) => {
  test('without cgroups, all of its tree ends but what hides from the process table', async () => {
    const bench = benchWith(undefined);
    const { strays } = await end(bench);
    const left = [...escapedIn(readFileSync(bench.logPath, 'utf8'))].filter(([, pid]) => isRunning(pid));
    expect(left.map(([name]) => name).sort()).toEqual([...HIDDEN].sort());
    expect(strays).toBe(ESCAPES.length + 1 - HIDDEN.length);
  });

  const inCgroup = probe.isUsable ? test : test.skip;
  const why = probe.isUsable ? '' : ` (skipped: ${probe.why})`;
  inCgroup(`in a cgroup, all of its tree ends, and no directory stays${why}`, async () => {
    const cgroups = probe.isUsable ? probe.cgroups : undefined;
    const bench = benchWith(cgroups);
    const { strays } = await end(bench);
    const left = [...escapedIn(readFileSync(bench.logPath, 'utf8'))].filter(([, pid]) => isRunning(pid));
    expect(left).toEqual([]);
    expect(strays).toBe(ESCAPES.length + 1);
    expect(existsSync(join(cgroups?.base ?? '', cgroupNameOf(bench)))).toBe(false);
  });
});

const { cgroups } = probe.isUsable ? probe : { cgroups: undefined };
(cgroups === undefined ? describe.skip : describe)('a cgroup of the kernel', () => {
  const place = cgroups as Cgroups;

  test('holds the daemon before its handshake is answered, and whatever that starts', async () => {
    const bench = benchWith(place);
    const daemon = await started(bench);
    const path = readCgroupPath(markOf(daemon).pid);
    expect(path?.endsWith(`/${cgroupNameOf(markOf(daemon))}`)).toBe(true);
    const pids = [...(await escapesOf(bench)).values()];
    expect(new Set(pids.map(readCgroupPath))).toEqual(new Set([path]));
  });

  test('is not left behind when the daemon cannot be moved into it', () => {
    const mark = { ...plannedOn(benchWith(place)), pid: 2 ** 22 - 1 };
    expect(() => encloseDaemon(place, mark)).toThrow(/ESRCH/);
    expect(existsSync(join(place.base, cgroupNameOf(mark)))).toBe(false);
  });

  test('of a coordinator that never came back is removed at the next start, once it is empty', async () => {
    const name = (n: number) =>
      join(place.base, cgroupNameOf({ incarnation: `${'e'.repeat(16)}-${n}`, socketPath: '/x/y' }));
    const [left, used, foreign] = [name(1), name(2), join(place.base, 'qwen-of-somebody')];
    const groups = [left, used, foreign];
    // Made by an agent that is about to enter it.
    const inner = join(used, 'inner');
    const holder = spawn('sleep', ['600'], { stdio: 'ignore' });
    try {
      moveInto(used, holder.pid ?? 0);
      for (const path of [left, foreign, inner]) mkdirSync(path);
      await started(benchWith(place));
      expect([left, used, inner, foreign].map((path) => existsSync(path))).toEqual([false, true, true, true]);
    } finally {
      holder.kill('SIGKILL');
      await eventually(() => {
        for (const path of groups) new DaemonCgroup(path).remove();
        return groups.every((path) => !existsSync(path));
      });
    }
  });

  test('is left alone, with the daemon in it, while that is not proven to be ours', async () => {
    const bench = benchWith(place);
    const daemon = await started(bench, { identity: 'other' });
    const pids = [...(await escapesOf(bench)).values()];
    const patient = bench.launcher({}, { identityTimeoutMs: 1500 });
    expect(await patient.adopt(bench.known(daemon.handle))).toMatchObject({ verdict: 'unverifiable' });
    expect([markOf(daemon).pid, ...pids].every(isRunning)).toBe(true);
  });

  test('of a pid that somebody else has by now is not that process’s: it is never signalled', async () => {
    const bench = benchWith(place);
    const stranger = spawn('sleep', ['600'], { stdio: 'ignore' });
    coordinators.push(stranger);
    const mark = { ...plannedOn(bench), pid: stranger.pid ?? 0, startTime: 1 };
    expect(await adopt(bench, mark)).toMatchObject({ verdict: 'gone', exit: { strays: 0 } });
    expect(isRunning(mark.pid)).toBe(true);
  });

  test('with a group that the agent made inside goes too', async () => {
    const bench = benchWith(place);
    const name = cgroupNameOf(bench);
    const agentScript = `mkdir "${place.base}/${name}/inner" && echo 0 > "${place.base}/${name}/inner/cgroup.procs"
      sleep 600 & echo child $$ agent; echo child $!; echo agent is up; wait`;
    const daemon = await started(bench, { agentScript });
    const [agent] = await bench.agentPids(2);
    expect(readCgroupPath(agent ?? 0)?.endsWith('/inner')).toBe(true);
    expect(await daemon.terminate(5000)).toMatchObject({ strays: 2 });
    expect(readdirSync(place.base)).not.toContain(name);
  });
});
