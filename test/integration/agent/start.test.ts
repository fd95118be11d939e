// How an agent comes up: once for all who ask, within its time, or with words on why not.
import { afterEach, expect, test } from '@jest/globals';
import { AgentCallError, AgentGone, AgentMissing, AgentTimeout } from '../../../daemon/agent/agent.ts';
import { cancelTurn, closeSession } from '../../../daemon/agent/extensions.ts';
import {
  isRunning,
  openSession,
  STUB_AGENT,
  type StubHost,
  sendPrompt,
  startStubHost,
  until,
} from '../../support/stub-agent-host.ts';

let stub: StubHost;
afterEach(() => stub.close());

const QUICK = { initializeTimeoutMs: 150, agentStdinGraceMs: 100, agentKillGraceMs: 100 };

test('concurrent calls for a channel share one start', async () => {
  stub = startStubHost(['--slow-init', '50']);
  expect(stub.host.current()).toBeUndefined();
  const [first, second] = await Promise.all([stub.host.channel(), stub.host.channel()]);
  expect(second).toBe(first);
  expect(first.generation).toBe(1);
  expect(stub.host.current()).toBe(first);
  expect(first.initialized).toMatchObject({ agentInfo: { name: 'stub' } });
  expect(first.process.pgid).toBe(first.process.pid);
  const state = await first.request('stub/state', {}, 20_000);
  expect(state).toMatchObject({ pid: first.process.pid, calls: { initialize: 1 } });
});

test('an agent that does not answer initialize is given up in time and ended, and the next call tries again', async () => {
  stub = startStubHost(['--silent-init', '--init-child'], { limits: QUICK });
  await expect(stub.host.channel()).rejects.toMatchObject({
    name: 'AgentTimeout',
    method: 'initialize',
    timeoutMs: 150,
  });
  await expect(stub.host.channel()).rejects.toBeInstanceOf(AgentTimeout);
  expect(stub.sink.exits).toEqual([]);
});

test('stop ends a child that is still in its handshake, with what it started', async () => {
  stub = startStubHost(['--silent-init', '--init-child']);
  const starting = stub.host.channel().catch((error: unknown) => error);
  const childLine = () => stub.logged.find(({ line }) => String(line).startsWith('child:'));
  await until('its child', () => childLine() !== undefined);
  const pids = [Number(String(childLine()?.line).slice(6)), Number(childLine()?.agentPid)];
  expect(pids.filter(isRunning)).toHaveLength(2);
  await stub.host.stop();
  expect(pids.filter(isRunning)).toEqual([]);
  expect(await starting).toBeInstanceOf(AgentGone);
});

test('an agent that ends in its handshake is told with its exit and last words', async () => {
  stub = startStubHost(['--exit-on-init', '3']);
  const error = await stub.host.channel().catch((reason: unknown) => reason);
  expect(error).toBeInstanceOf(AgentGone);
  expect((error as AgentGone).exit).toMatchObject({ code: 3, isPlanned: false, lastLines: ['cannot go on'] });
});

test('an agent of another protocol version is refused in words', async () => {
  stub = startStubHost(['--protocol', '2']);
  await expect(stub.host.channel()).rejects.toThrow('version 2 of ACP');
});

test('a program that is not there is reported, and found once it is', async () => {
  let command = ['/nonexistent/agent'];
  stub = startStubHost([], {
    profile: () => ({ configured: 'stub', command, problem: undefined, env: {} }),
  });
  await expect(stub.host.channel()).rejects.toBeInstanceOf(AgentMissing);
  command = [process.execPath, STUB_AGENT];
  await expect(stub.host.channel()).resolves.toBeDefined();
});

test('a known problem is thrown as it is worded, and diagnosed without starting anything', async () => {
  const problem = 'the agent "qwen" is not installed';
  stub = startStubHost([], {
    profile: () => ({ configured: 'qwen', command: undefined, problem, env: {} }),
  });
  expect(stub.host.diagnose()).toEqual({ configured: 'qwen', command: undefined, problem });
  await expect(stub.host.channel()).rejects.toMatchObject({ name: 'AgentMissing', message: problem });
});

test('a missing working directory is reported, not thrown out of the host', async () => {
  stub = startStubHost([], { workspace: '/nonexistent/workspace' });
  await expect(stub.host.channel()).rejects.toThrow('/nonexistent/workspace');
});

test('a call that takes too long rejects alone: the channel goes on', async () => {
  stub = startStubHost();
  const channel = await stub.host.channel();
  const sessionId = await openSession(channel, stub.workspace);
  await expect(sendPrompt(channel, sessionId, 'sleep:3000', 20)).rejects.toMatchObject({
    name: 'AgentTimeout',
    method: 'session/prompt',
    timeoutMs: 20,
  });
  await expect(sendPrompt(channel, sessionId, 'N:1:20', 20_000)).resolves.toEqual({ stopReason: 'end_turn' });
});

test('an error of the agent keeps code, text and data', async () => {
  stub = startStubHost(['--no-new']);
  const channel = await stub.host.channel();
  const error = await openSession(channel, stub.workspace).catch((reason: unknown) => reason);
  expect(error).toBeInstanceOf(AgentCallError);
  expect(error).toMatchObject({ code: -32603, message: 'no new sessions', data: { errorKind: 'stub' } });
});

test('a turn is cancelled by the call where the agent has it, else by the notification, asked for once', async () => {
  for (const args of [['--ext'], []]) {
    stub = startStubHost(args);
    const channel = await stub.host.channel();
    const sessionId = await openSession(channel, stub.workspace);
    for (let turn = 0; turn < 2; turn++) {
      const prompt = sendPrompt(channel, sessionId, 'hang');
      await cancelTurn(channel, sessionId, 20_000);
      await expect(prompt).resolves.toEqual({ stopReason: 'cancelled' });
    }
    const { calls } = (await channel.request('stub/state', {}, 20_000)) as { calls: Record<string, number> };
    expect(calls['craft/cancelPendingPrompt']).toBe(args.length === 0 ? 1 : 2);
    expect(calls['session/cancel']).toBe(args.length === 0 ? 2 : undefined);
    expect(await closeSession(channel, sessionId, 20_000)).toBe(args.length !== 0);
    if (args.length !== 0) await stub.close();
  }
});
