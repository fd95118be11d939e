// How the end of an agent shows: to calls in flight, to the sink, in the log; and that nothing it started outlives it.
import { afterEach, describe, expect, test } from '@jest/globals';
import { AgentGone } from '../../../daemon/agent/agent.ts';
import {
  isRunning,
  openSession,
  reportedChildren,
  type StubHost,
  sendPrompt,
  startStubHost,
  until,
} from '../../support/stub-agent-host.ts';

let stub: StubHost;
afterEach(() => stub.close());

async function start(args: readonly string[] = [], overrides = {}) {
  stub = startStubHost(args, overrides);
  const channel = await stub.host.channel();
  const sessionId = await openSession(channel, stub.workspace);
  return { channel, sessionId, sink: stub.sink, host: stub.host };
}

async function reasonOf(promise: Promise<unknown>): Promise<unknown> {
  return promise.then(
    () => 'resolved',
    (error: unknown) => error,
  );
}

describe('a crash', () => {
  test('rejects every call in flight, then tells the sink code and last words', async () => {
    const { channel, sessionId, sink } = await start([], { sessionsOn: () => 3 });
    const other = await openSession(channel, stub.workspace);
    const hanging = reasonOf(sendPrompt(channel, other, 'hang')).then((reason) => {
      sink.note('rejected');
      return reason;
    });
    const reason = await reasonOf(sendPrompt(channel, sessionId, 'stderr:out of luck ; crash'));
    expect(reason).toBeInstanceOf(AgentGone);
    expect(await hanging).toBeInstanceOf(AgentGone);
    await until('the exit', () => sink.exits.length === 1);
    expect((reason as AgentGone).exit).toEqual({
      code: 7,
      signal: null,
      isPlanned: false,
      lastLines: ['out of luck'],
    });
    expect(sink.seen.map(({ kind }) => kind)).toEqual(['update', 'note', 'exited']);
    expect(stub.logged).toContainEqual(
      expect.objectContaining({ level: 40, code: 7, signal: null, sessions: 3, lastLines: ['out of luck'] }),
    );
  });

  test('by a signal is told with the signal', async () => {
    const { channel, sessionId, sink } = await start();
    await reasonOf(sendPrompt(channel, sessionId, 'crash-signal'));
    await until('the exit', () => sink.exits.length === 1);
    expect(sink.exits[0]).toMatchObject({ code: null, signal: 'SIGKILL', isPlanned: false });
  });

  test('leaves a dead channel, and the next call for one starts afresh', async () => {
    const { channel, sessionId, host } = await start();
    await reasonOf(sendPrompt(channel, sessionId, 'crash'));
    expect(channel.isDying).toBe(true);
    expect(host.current()).toBeUndefined();
    expect(await reasonOf(channel.request('stub/state', {}, 20_000))).toBeInstanceOf(AgentGone);
    channel.notify('session/cancel', { sessionId });
    const next = await host.channel();
    expect(next.generation).toBe(2);
    await expect(next.request('stub/state', {}, 20_000)).resolves.toBeDefined();
  });
});

test('an answer written just before a clean exit is not lost', async () => {
  const { channel, sessionId, sink } = await start();
  await expect(sendPrompt(channel, sessionId, 'N:300:100 ; last-words')).resolves.toEqual({
    stopReason: 'end_turn',
  });
  expect(sink.texts.at(-1)).toBe('last words');
  expect(sink.updates).toHaveLength(301);
});

test('an answer in the pipe of a paused channel is not lost at the exit', async () => {
  const { channel, sessionId } = await start();
  channel.pause();
  await expect(sendPrompt(channel, sessionId, 'last-words')).resolves.toEqual({ stopReason: 'end_turn' });
});

test('a grandchild that holds stdout does not hide the exit', async () => {
  const { channel, sessionId, sink } = await start();
  const startedAt = performance.now();
  expect(await reasonOf(sendPrompt(channel, sessionId, 'holder ; crash'))).toBeInstanceOf(AgentGone);
  expect(performance.now() - startedAt).toBeLessThan(20_000);
  await until('its end', () => reportedChildren(sink).every((pid) => !isRunning(pid)));
});

test.each(['child', 'setsid-child'])('after a crash its %s is ended too', async (directive) => {
  const { channel, sessionId, sink } = await start();
  await reasonOf(sendPrompt(channel, sessionId, `${directive} ; ${directive} ; crash`));
  const pids = reportedChildren(sink);
  expect(pids).toHaveLength(2);
  await until('their end', () => !pids.some(isRunning));
});

test.each([[[]], [['--ignore-term']]])('retiring (%j) ends the agent and every descendant', async (args) => {
  const { channel, sessionId, sink, host } = await start(args);
  await sendPrompt(channel, sessionId, 'child ; setsid-child');
  const pids = [channel.process.pid, ...reportedChildren(sink)];
  expect(pids.filter(isRunning)).toHaveLength(3);
  const hanging = reasonOf(sendPrompt(channel, sessionId, 'ignore-cancel'));
  const exit = await host.retire(channel);
  expect(exit.isPlanned).toBe(true);
  expect(pids.filter(isRunning)).toEqual([]);
  expect(await hanging).toBeInstanceOf(AgentGone);
  await until('the exit', () => sink.exits.length === 1);
  expect(stub.logged.filter(({ level }) => Number(level) >= 40)).toEqual([]);
});

test('retiring twice, and after the exit, tells the same end', async () => {
  const { channel, host, sink } = await start();
  const [first, second] = await Promise.all([host.retire(channel), host.retire(channel)]);
  expect(second).toEqual(first);
  expect(await host.retire(channel)).toEqual(first);
  expect(sink.exits).toEqual([first]);
});

test('while one child is dying, a fresh one serves and is not touched', async () => {
  const { channel, sessionId, host } = await start(['--ignore-term']);
  await sendPrompt(channel, sessionId, 'setsid-child');
  const retired = host.retire(channel);
  expect(channel.isDying).toBe(true);
  expect(host.current()).toBeUndefined();
  const fresh = await host.channel();
  expect(fresh.generation).toBe(2);
  expect(host.current()).toBe(fresh);
  await retired;
  const id = await openSession(fresh, stub.workspace);
  await expect(sendPrompt(fresh, id, 'N:1:20')).resolves.toEqual({ stopReason: 'end_turn' });
});

test('more than two living children are warned of', async () => {
  // Neither may be gone before the third has started; the end comes by killNow.
  const limits = { initializeTimeoutMs: 10_000, agentStdinGraceMs: 60_000, agentKillGraceMs: 300 };
  const { channel, host } = await start(['--ignore-term'], { limits });
  const first = host.retire(channel);
  const second = host.retire(await host.channel());
  await host.channel();
  expect(stub.logged).toContainEqual(expect.objectContaining({ level: 40, children: 3 }));
  host.killNow();
  await Promise.all([first, second]);
});

test('stop ends a live agent and its tree, and later calls for a channel reject', async () => {
  const { channel, sessionId, sink, host } = await start();
  await sendPrompt(channel, sessionId, 'setsid-child');
  await host.stop();
  expect([channel.process.pid, ...reportedChildren(sink)].filter(isRunning)).toEqual([]);
  await expect(host.channel()).rejects.toBeInstanceOf(AgentGone);
  await host.stop();
});

test('killNow leaves nothing, without being awaited', async () => {
  const { channel, sessionId, sink, host } = await start(['--ignore-term']);
  await sendPrompt(channel, sessionId, 'child ; setsid-child');
  host.killNow();
  const pids = [channel.process.pid, ...reportedChildren(sink)];
  await until('their end', () => !pids.some(isRunning));
});

test('an agent that closes its stdin is ended', async () => {
  const { channel, sessionId, sink } = await start();
  void reasonOf(sendPrompt(channel, sessionId, 'close-stdin'));
  await until('the end', () => {
    channel.notify('stub/anything', {});
    return sink.exits.length === 1;
  });
  expect(sink.exits[0]?.isPlanned).toBe(false);
});

test('a line without end breaks the channel with a logged reason', async () => {
  const { channel, sessionId, sink } = await start([], { maxLineBytes: 100_000 });
  expect(await reasonOf(sendPrompt(channel, sessionId, 'long-line:300000'))).toBeInstanceOf(AgentGone);
  await until('the exit', () => sink.exits.length === 1);
  expect(stub.logged).toContainEqual(
    expect.objectContaining({ level: 50, reason: 'the agent sent a line longer than 100000 bytes' }),
  );
});
