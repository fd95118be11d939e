// What the agent writes reaches the sink in the order in which it was written, whatever kind of message it is.
import { afterEach, expect, test } from '@jest/globals';
import { openSession, type StubHost, sendPrompt, startStubHost } from '../../support/stub-agent-host.ts';

let stub: StubHost;
afterEach(() => stub.close());

async function start(args: readonly string[] = []) {
  stub = startStubHost(args);
  const channel = await stub.host.channel();
  const sessionId = await openSession(channel, stub.workspace);
  return { channel, sessionId, sink: stub.sink };
}

test('a prompt resolves after all of its updates were handed over', async () => {
  const { channel, sessionId, sink } = await start();
  for (let turn = 1; turn <= 50; turn++) {
    await sendPrompt(channel, sessionId, 'N:40:30');
    expect(sink.updates).toHaveLength(turn * 40);
  }
});

test('an answer reaches its caller before what the agent wrote behind it', async () => {
  const { channel, sessionId, sink } = await start();
  for (let turn = 0; turn < 50; turn++) {
    await sendPrompt(channel, sessionId, 'before ; after-answer:behind');
    sink.note('answered');
    await channel.request('stub/state', {}, 20_000);
  }
  const order = sink.seen.map((entry) => (entry.kind === 'note' ? entry.text : entry.kind));
  expect(order).toEqual(Array.from({ length: 50 }, () => ['update', 'answered', 'update']).flat());
});

test('updates, notifications and calls keep their order among each other', async () => {
  const { channel, sessionId, sink } = await start();
  sink.answer = async () => ({ outcome: { outcome: 'selected', optionId: 'allow' } });
  await sendPrompt(
    channel,
    sessionId,
    'one ; notify:stub/first:{"n":1} ; permission ; notify:stub/last ; two',
  );
  const order = sink.seen.map((entry) => ('method' in entry ? entry.method : entry.kind));
  // The first update is the echo, the second the report of the permission's outcome.
  expect(order).toEqual([
    'update',
    'stub/first',
    'session/request_permission',
    'update',
    'stub/last',
    'update',
  ]);
});

test('a permission question is seen between the updates around it though it is answered later', async () => {
  const { channel, sessionId, sink } = await start();
  let answer: (value: unknown) => void = () => undefined;
  sink.answer = () => new Promise((resolve) => (answer = resolve));
  const turn = sendPrompt(channel, sessionId, 'permissions:1');
  const other = await openSession(channel, stub.workspace);
  await sendPrompt(channel, other, 'N:5:20');
  expect(sink.seen.map(({ kind }) => kind)).toEqual(['request', ...Array(5).fill('update')]);
  answer({ outcome: { outcome: 'selected', optionId: 'reject' }, kept: { extra: true } });
  await turn;
  expect(JSON.parse(sink.texts.at(-1) ?? '')).toEqual({
    result: { outcome: { outcome: 'selected', optionId: 'reject' }, kept: { extra: true } },
  });
});

test('fields and kinds that ACP does not know are kept', async () => {
  const { channel, sessionId, sink } = await start();
  sink.answer = async () => ({ outcome: { outcome: 'cancelled' } });
  await sendPrompt(channel, sessionId, 'unknown-update ; permission');
  expect(sink.seen[0]).toEqual({
    kind: 'update',
    sessionId,
    params: {
      sessionId,
      update: { sessionUpdate: 'stub_unknown', extra: { deep: [1, null, 'ä'] }, timestamp: 12 },
    },
  });
  expect(sink.seen[1]).toMatchObject({ kind: 'request', params: { sessionId, stubExtra: 1 } });
});

test('lines that are no message are logged, not answered, and harm nothing', async () => {
  const { channel, sessionId, sink } = await start();
  await sendPrompt(channel, sessionId, 'garbage ; after');
  expect(sink.texts).toEqual(['echo: after']);
  const junk = stub.logged.filter(({ line }) => line !== undefined).map(({ line }) => line);
  expect(junk).toEqual(['not json', '[1,2]', '{"jsonrpc":"2.0","id":99999,"result":{}}']);
});

test('a call that the sink refuses or does not know is answered with its error', async () => {
  const { channel, sessionId, sink } = await start();
  await sendPrompt(channel, sessionId, 'call:stub/unknown:{"a":1}');
  expect(JSON.parse(sink.texts[0] ?? '')).toEqual({
    error: { code: -32601, message: 'Method not found: stub/unknown' },
  });
});

test('a bug behind a call is answered as an internal error without its text', async () => {
  const { channel, sessionId, sink } = await start();
  sink.answer = () => {
    throw new TypeError('secret detail');
  };
  await sendPrompt(channel, sessionId, 'call:stub/unknown');
  expect(JSON.parse(sink.texts[0] ?? '')).toEqual({ error: { code: -32603, message: 'Internal error' } });
});

test('a file call is answered inside the workspace and never reaches the sink', async () => {
  const { channel, sessionId, sink } = await start();
  const path = `${stub.workspace}/new/file.txt`;
  await sendPrompt(
    channel,
    sessionId,
    `call:fs/write_text_file:${JSON.stringify({ path, content: 'hé\n' })}`,
  );
  await sendPrompt(channel, sessionId, `call:fs/read_text_file:${JSON.stringify({ path })}`);
  await sendPrompt(channel, sessionId, 'call:fs/read_text_file:{"path":"/etc/hostname"}');
  const [written, read, refused] = sink.texts.map((text) => JSON.parse(text));
  expect(written).toEqual({ result: null });
  expect(read).toEqual({ result: { content: 'hé\n' } });
  expect(refused.error.data).toEqual({ errorKind: 'path_outside_workspace' });
  expect(sink.seen.every(({ kind }) => kind === 'update')).toBe(true);
});

test('a paused channel hands over nothing more once what was read is through, and goes on when resumed', async () => {
  const { channel, sessionId, sink } = await start();
  channel.pause();
  channel.pause();
  const turn = sendPrompt(channel, sessionId, 'N:5000:1000');
  await new Promise((resolve) => setTimeout(resolve, 150));
  const whilePaused = sink.updates.length;
  channel.resume();
  await new Promise((resolve) => setTimeout(resolve, 50));
  expect(sink.updates).toHaveLength(whilePaused);
  expect(whilePaused).toBeLessThan(500);
  channel.resume();
  await turn;
  expect(sink.updates).toHaveLength(5000);
});
