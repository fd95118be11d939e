// A conversation with the demo agent as it is shipped: a bundle, run by node, over the real link.
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, expect, test } from '@jest/globals';
import type { AgentChannel } from '../../../daemon/agent/agent.ts';
import { type Bundle, bundle } from '../../support/bundle.ts';
import {
  openSession,
  type StubHost,
  sendPrompt,
  startStubHost,
  until,
} from '../../support/stub-agent-host.ts';

let demo: Bundle;
beforeAll(async () => {
  demo = await bundle('daemon/demo-agent/main.ts');
});
afterAll(() => demo.remove());

let stub: StubHost;
afterEach(() => stub.close());

async function start(...args: string[]): Promise<AgentChannel> {
  stub = startStubHost([], {
    profile: () => ({
      configured: 'demo',
      command: [process.execPath, demo.path, '--delay-ms', '1', ...args],
      problem: undefined,
      env: {},
    }),
  });
  return stub.host.channel();
}

const decide = (optionId: string) => async () => ({ outcome: { outcome: 'selected', optionId } });
const kinds = () => stub.sink.updates.map((update) => update.sessionUpdate);
const said = () => stub.sink.texts.join('');

test('a prompt is answered word by word, with the workspace and what was said', async () => {
  const channel = await start();
  expect(channel.initialized).toMatchObject({ protocolVersion: 1, agentCapabilities: { loadSession: true } });
  const sessionId = await openSession(channel, stub.workspace);
  await expect(sendPrompt(channel, sessionId, 'good morning')).resolves.toEqual({ stopReason: 'end_turn' });
  expect(stub.sink.texts.length).toBeGreaterThan(5);
  expect(said()).toContain(`I work in ${stub.workspace} and you said: "good morning"`);
});

test('think and plan show a thought and a plan before the answer', async () => {
  const channel = await start();
  await sendPrompt(channel, await openSession(channel, stub.workspace), 'think and plan');
  expect(kinds().slice(0, 3)).toEqual(['agent_thought_chunk', 'plan', 'agent_message_chunk']);
});

test('edit announces a tool call, asks, and reports the decision; "always" is asked once', async () => {
  const channel = await start();
  const sessionId = await openSession(channel, stub.workspace);
  const { sink } = stub;
  sink.answer = decide('reject_once');
  await sendPrompt(channel, sessionId, 'edit');
  expect(sink.seen.slice(0, 3)).toMatchObject([
    { kind: 'update', params: { update: { sessionUpdate: 'tool_call', kind: 'edit', status: 'pending' } } },
    {
      kind: 'request',
      method: 'session/request_permission',
      params: {
        sessionId,
        options: [{ kind: 'allow_once' }, { kind: 'allow_always' }, { kind: 'reject_once' }],
      },
    },
    { kind: 'update', params: { update: { sessionUpdate: 'tool_call_update', status: 'failed' } } },
  ]);
  expect(said()).toContain('was decided: reject_once');
  sink.answer = decide('allow_always');
  await sendPrompt(channel, sessionId, 'edit');
  await sendPrompt(channel, sessionId, 'edit');
  expect(sink.seen.filter(({ kind }) => kind === 'request')).toHaveLength(2);
  expect(said()).toContain('was decided: allow_always');
});

test('a slow answer is cancelled at once, and the next prompt is answered', async () => {
  const channel = await start('--delay-ms', '500');
  const sessionId = await openSession(channel, stub.workspace);
  const turn = sendPrompt(channel, sessionId, 'slow');
  await until('the first word', () => stub.sink.texts.length > 0);
  channel.notify('session/cancel', { sessionId });
  await expect(turn).resolves.toEqual({ stopReason: 'cancelled' });
  expect(stub.sink.texts.length).toBeLessThan(5);
  await expect(sendPrompt(channel, sessionId, 'hi')).resolves.toEqual({ stopReason: 'end_turn' });
});

test('a turn is cancelled while its permission is open', async () => {
  const channel = await start();
  const sessionId = await openSession(channel, stub.workspace);
  stub.sink.answer = () => new Promise(() => undefined);
  const turn = sendPrompt(channel, sessionId, 'edit');
  await until('the question', () => stub.sink.seen.some(({ kind }) => kind === 'request'));
  channel.notify('session/cancel', { sessionId });
  await expect(turn).resolves.toEqual({ stopReason: 'cancelled' });
});

test('a session is loaded by another process from its transcript, and never one that was not kept', async () => {
  const stateDir = mkdtempSync(join(tmpdir(), 'demo-state-'));
  const sessionId = '7b0f3c1e-8a52-4a6b-9d21-0c6d1f3e5a77';
  try {
    const first = await start('--state-dir', stateDir);
    const meta = { cwd: stub.workspace, mcpServers: [], _meta: { 'qwen-code/sessionId': sessionId } };
    await expect(first.request('session/new', meta, 20_000)).resolves.toMatchObject({ sessionId });
    await sendPrompt(first, sessionId, 'remember me');
    const answered = said();
    await stub.host.retire(first);
    expect(readdirSync(stateDir)).toEqual([`${sessionId}.jsonl`]);

    const second = await stub.host.channel();
    stub.sink.seen.length = 0;
    const load = { sessionId, cwd: stub.workspace, mcpServers: [] };
    await expect(second.request('session/load', load, 20_000)).resolves.toMatchObject({
      models: { currentModelId: 'demo-small' },
    });
    expect(kinds()).toEqual(['user_message_chunk', 'agent_message_chunk']);
    expect(stub.sink.texts).toEqual(['remember me', answered]);
    await expect(
      second.request('session/load', { ...load, sessionId: '../other' }, 20_000),
    ).rejects.toMatchObject({ code: -32002 });
  } finally {
    rmSync(stateDir, { recursive: true, force: true });
  }
});

test('model and mode can be set; yolo edits without asking, plan does not edit', async () => {
  const channel = await start();
  const sessionId = await openSession(channel, stub.workspace);
  await channel.request('session/set_model', { sessionId, modelId: 'demo-large' }, 20_000);
  await channel.request('session/set_mode', { sessionId, modeId: 'yolo' }, 20_000);
  await sendPrompt(channel, sessionId, 'edit');
  await channel.request('session/set_mode', { sessionId, modeId: 'plan' }, 20_000);
  await sendPrompt(channel, sessionId, 'edit');
  expect(stub.sink.updates[0]).toEqual({ sessionUpdate: 'current_mode_update', currentModeId: 'yolo' });
  expect(said()).toContain('allow (yolo mode)');
  expect(said()).toContain('reject (plan mode)');
  expect(stub.sink.seen.some(({ kind }) => kind === 'request')).toBe(false);
  const resumed = await channel.request('session/resume', { sessionId, cwd: stub.workspace }, 20_000);
  expect(resumed).toMatchObject({
    models: { currentModelId: 'demo-large' },
    modes: { currentModeId: 'plan' },
  });
  await expect(
    channel.request('session/set_model', { sessionId, modelId: 'unknown' }, 20_000),
  ).rejects.toMatchObject({ code: -32602 });
});

test('methods that it does not know are answered with "method not found"', async () => {
  const channel = await start();
  await expect(channel.request('qwen/control/session/close', {}, 20_000)).rejects.toMatchObject({
    code: -32601,
  });
});

test('a bad flag ends it with usage on stderr', async () => {
  await expect(start('--delay-ms', 'soon')).rejects.toMatchObject({
    exit: { code: 2, lastLines: expect.arrayContaining([expect.stringContaining('--delay-ms must be')]) },
  });
});
