import { existsSync } from 'node:fs';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { Bench, eventually, isRunning, markOf } from './harness.ts';

let bench: Bench;
beforeEach(() => {
  bench = new Bench();
});
afterEach(() => bench.close());

async function startWithAgent(script: { ignoreTerm?: boolean } = {}) {
  const { process: daemon, ready } = bench.start({ ...script, agent: true });
  await ready;
  const agent = await bench.agentPids();
  expect(agent).toHaveLength(5);
  return { daemon, agent };
}

describe('terminate', () => {
  test('lets the daemon end by itself and then removes what it left, socket included', async () => {
    const { daemon, agent } = await startWithAgent();
    const exit = await daemon.terminate(5000);
    expect(exit).toMatchObject({ code: 0, signal: null, strays: 5 });
    expect(exit.lastLines.at(-1)).toBe('got SIGTERM');
    expect(agent.filter(isRunning)).toEqual([]);
    expect(existsSync(bench.socketPath)).toBe(false);
  });

  test('kills a daemon that does not end in time, and every descendant that got away', async () => {
    const { daemon, agent } = await startWithAgent({ ignoreTerm: true });
    const exit = await daemon.terminate(100);
    expect(exit).toMatchObject({ code: null, signal: 'SIGKILL', strays: 5 });
    expect(exit.lastLines).toContain('got SIGTERM');
    expect([markOf(daemon).pid, ...agent].filter(isRunning)).toEqual([]);
  });

  test('may be called again, and gives the same end', async () => {
    const { process: daemon, ready } = bench.start();
    await ready;
    const exits = await Promise.all([daemon.terminate(5000), daemon.terminate(0), daemon.exited]);
    expect(new Set(exits).size).toBe(1);
    expect(await daemon.terminate(0)).toBe(exits[0]);
  });
});

test('killNow has sent every signal when it returns', async () => {
  const { daemon, agent } = await startWithAgent({ ignoreTerm: true });
  daemon.killNow();
  await eventually(() => ![markOf(daemon).pid, ...agent].some(isRunning), 5000);
  expect(await daemon.exited).toMatchObject({ signal: 'SIGKILL', strays: 5 });
  daemon.killNow();
});

test('a daemon that is killed from outside takes its agent with it before its exit is told', async () => {
  const { daemon, agent } = await startWithAgent();
  process.kill(markOf(daemon).pid, 'SIGKILL');
  const exit = await daemon.exited;
  expect(agent.filter(isRunning)).toEqual([]);
  expect(exit).toMatchObject({ code: null, signal: 'SIGKILL', strays: 5 });
});

test('a neighbour of another incarnation is not touched', async () => {
  const neighbours = new Bench();
  try {
    const neighbour = neighbours.start({ agent: true });
    await neighbour.ready;
    const theirs = await neighbours.agentPids();
    const { daemon } = await startWithAgent();
    await daemon.terminate(5000);
    expect([markOf(neighbour.process).pid, ...theirs].filter(isRunning)).toHaveLength(6);
  } finally {
    await neighbours.close();
  }
});
