// A daemon that stands still: found within the bound that the thresholds promise, and replaced; one that is merely slow is
// left alone, and its session with it.
import { afterEach, describe, expect, test } from '@jest/globals';
import { detectionBoundMs, toleratedPauseMs } from '../../coordinator/domain/liveness.ts';
import { eventually } from '../support/eventually.ts';
import {
  type DiagnosedWorkspace,
  endFleets,
  type Server,
  startCoordinator,
} from '../support/fleet-process.ts';
import { isRunning } from '../support/scratch.ts';
import { newSession } from '../support/wire-client.ts';

afterEach(endFleets);

const BEAT_MS = 200;
const THRESHOLDS = { beatTimeoutFactor: 4, livenessPeriodMs: 100, probeTimeoutMs: 500 };
const STOP_GRACE_MS = 300;
/** Two busy cores: a timer that is due may run this much later. */
const SCHEDULING_MS = 5000;

const FLAGS = [
  ['--feed-beat-ms', BEAT_MS],
  ['--beat-timeout-factor', THRESHOLDS.beatTimeoutFactor],
  ['--liveness-period-ms', THRESHOLDS.livenessPeriodMs],
  ['--stop-grace-ms', STOP_GRACE_MS],
  ['--shutdown-grace-ms', STOP_GRACE_MS - 100],
  ['--restart-first-backoff-ms', 50],
].flat();

/** For those that are to be left alone: what a machine's own pauses may take out of an answer's time. */
const PATIENT = { ...THRESHOLDS, probeTimeoutMs: 1500 };

interface Running extends DiagnosedWorkspace {
  readonly pid: number;
}

/** A fleet whose every daemon is ready, each with a session. */
async function readyFleet(
  workspaces: number,
  { probeTimeoutMs } = THRESHOLDS,
): Promise<{ server: Server; daemons: Running[] }> {
  const flags = [...FLAGS, '--probe-timeout-ms', probeTimeoutMs].map(String);
  const server = await startCoordinator({ workspaces, flags });
  for (const path of server.workspaces) await newSession(server.baseUrl, path);
  return { server, daemons: (await server.diagnostics()) as Running[] };
}

async function untilGone(pids: readonly number[], withinMs: number): Promise<number> {
  const since = performance.now();
  await eventually('the end of the frozen', () => !pids.some(isRunning), withinMs);
  return performance.now() - since;
}

describe('a frozen daemon', () => {
  test('is found and ended within the bound, its neighbour is not touched, and the next demand is served', async () => {
    const { server, daemons } = await readyFleet(2);
    const [frozen, neighbour] = daemons as [Running, Running];
    process.kill(frozen.pid, 'SIGSTOP');
    const boundMs = detectionBoundMs(BEAT_MS, THRESHOLDS) + STOP_GRACE_MS;
    const tookMs = await untilGone([frozen.pid, frozen.agent?.pid ?? 0], boundMs + SCHEDULING_MS);
    // Not before its beats were missing and it had its time to answer.
    expect(tookMs).toBeGreaterThan(toleratedPauseMs(BEAT_MS, THRESHOLDS));
    await newSession(server.baseUrl, frozen.cwd);
    const after = await server.diagnostics();
    expect(after[0]?.pid).not.toBe(frozen.pid);
    expect(after[1]).toMatchObject({ pid: neighbour.pid, state: 'ready', starts: 1 });
  });

  test('among others that froze with it is found as soon', async () => {
    const { daemons } = await readyFleet(3);
    const pids = daemons.map(({ pid }) => pid);
    for (const pid of pids) process.kill(pid, 'SIGSTOP');
    await untilGone(pids, detectionBoundMs(BEAT_MS, THRESHOLDS) + STOP_GRACE_MS + SCHEDULING_MS);
  });
});

describe('a daemon that is merely slow', () => {
  test.each([
    ['for two beats', 2 * BEAT_MS],
    ['beyond its beats, but answers the question', THRESHOLDS.beatTimeoutFactor * BEAT_MS + 250],
  ])('%s goes on, with its process and its session', async (_, pauseMs) => {
    const { server, daemons } = await readyFleet(1, PATIENT);
    const [daemon] = daemons as [Running];
    for (let times = 0; times < 3; times += 1) {
      process.kill(daemon.pid, 'SIGSTOP');
      await new Promise((resolve) => setTimeout(resolve, pauseMs));
      process.kill(daemon.pid, 'SIGCONT');
      await new Promise((resolve) => setTimeout(resolve, 2 * BEAT_MS));
    }
    const after = await server.diagnosis(0);
    expect(after).toMatchObject({ state: 'ready', pid: daemon.pid, sessions: 1, starts: 1 });
  });
});

test('a coordinator that itself stood still for longer than every threshold ends nobody', async () => {
  const { server, daemons } = await readyFleet(2, PATIENT);
  server.signal('SIGSTOP');
  await new Promise((resolve) => setTimeout(resolve, detectionBoundMs(BEAT_MS, PATIENT) + 200));
  server.signal('SIGCONT');
  await new Promise((resolve) => setTimeout(resolve, detectionBoundMs(BEAT_MS, THRESHOLDS)));
  const after = await server.diagnostics();
  expect(after.map(({ pid, state, starts }) => ({ pid, state, starts }))).toEqual(
    daemons.map(({ pid }) => ({ pid, state: 'ready', starts: 1 })),
  );
});
