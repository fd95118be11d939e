// The bridge and its agent (protocol 7.5 and 7.6): what the agent may say and ask, and what becomes of a session when the
// agent is slow, silent, failing or dying while it is made.
import { existsSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { request } from 'node:http';
import { join } from 'node:path';
import { afterEach, describe, expect, test } from '@jest/globals';
import { eventually } from '../support/eventually.ts';
import { endFleets, type Server, startDaemon, stubAgent } from '../support/fleet-process.ts';
import { isRunning, signalPid } from '../support/scratch.ts';
import { type SseStream, streamFrom } from '../support/sse-stream.ts';
import { call, newSession, sendPrompt } from '../support/wire-client.ts';

afterEach(endFleets);

type Json = Record<string, unknown>;

const NOTIFY = 'qwen/notify/session';
const say = (method: string, params: Json) => `notify:${method}:${JSON.stringify(params)}`;
const ask = (method: string, params: Json = {}) => `call:${method}:${JSON.stringify(params)}`;

/** Runs one prompt of directives to its end. */
async function play(base: string, sessionId: string, ...directives: string[]): Promise<SseStream> {
  const admission = await sendPrompt(base, sessionId, directives.join(' ; '));
  const stream = await streamFrom(base, sessionId, admission);
  await stream.settled(admission.promptId);
  return stream;
}

/** The agent's report of what one of its calls was answered. */
async function answerTo(base: string, sessionId: string, method: string, params: Json = {}): Promise<Json> {
  const { texts } = await play(base, sessionId, ask(method, params));
  return JSON.parse(texts[0] ?? '{}') as Json;
}

const agentsOf = ({ scratch }: Server) =>
  scratch
    .processes()
    .filter(({ command }) => command.includes('stub-agent.mjs') && !command.includes('--agent'));

const deepHealth = async (base: string) => (await call(base, 'GET', '/health?deep=1')).json;

/** A create whose client goes away after `afterMs`. Resolves when the connection is gone. */
function abandonedCreate(base: string, afterMs: number, body: Json = {}): Promise<void> {
  const text = JSON.stringify(body);
  const headers = { 'content-type': 'application/json', 'content-length': text.length };
  const req = request(`${base}/session`, { method: 'POST', agent: false, headers });
  req.on('error', () => undefined);
  req.end(text);
  setTimeout(() => req.destroy(), afterMs);
  return new Promise((resolve) => req.once('close', () => resolve()));
}

describe('what the agent notifies', () => {
  test('becomes the event that clients know, and the rest is ignored', async () => {
    const { baseUrl } = await startDaemon();
    const { sessionId, clientId } = await newSession(baseUrl);
    const promptText = [
      say(`${NOTIFY}/title-update`, { v: 1, title: 'A title', titleSource: 'auto' }),
      say(`${NOTIFY}/prompt-suggestion`, { v: 1, suggestion: 'go on', promptId: 'p' }),
      say('no/such/method', { v: 1 }),
      say(`${NOTIFY}/recording-degraded`, { v: 1, reason: 'write_failed' }),
      say(`${NOTIFY}/mcp-budget-event`, { v: 1, kind: 'budget_warning', liveCount: 1, budget: 2 }),
      say(`${NOTIFY}/mcp-budget-event`, { v: 1, kind: 'no such kind' }),
      say(`${NOTIFY}/mcp-budget-event`, { v: 1, kind: 'refused_batch', refusedServers: [] }),
      say(`${NOTIFY}/artifact-event`, {
        artifacts: [{ artifactId: 'a', action: 'created' }, { artifactId: 'b' }, { title: 'plain' }],
      }),
      say(`${NOTIFY}/pr-binding`, { v: 1, pr: { number: 0, url: 'https://example.org' } }),
      say(`${NOTIFY}/terminal-sequence`, { v: 1, sequence: '\u001b[2J' }),
      say(`${NOTIFY}/sources-changed`, { revision: 3 }),
      say(`${NOTIFY}/model-update`, { v: 1, currentModelId: 'm2' }),
      say('_qwencode/end_turn', { source: 'background_notification', reason: 'end_turn', turnId: 't' }),
      say(`${NOTIFY}/title-update`, { v: 1, title: '' }),
    ].join(' ; ');
    const admission = await sendPrompt(baseUrl, sessionId, promptText, clientId);
    const stream = await streamFrom(baseUrl, sessionId, admission);
    await stream.settled(admission.promptId);
    const told = stream.envelopes.filter(
      ({ id, type }) => id !== undefined && !['session_update', 'turn_complete'].includes(type),
    );
    expect(told.map(({ type, data }) => [type, data])).toEqual([
      ['session_metadata_updated', { sessionId, displayName: 'A title', titleSource: 'auto' }],
      ['followup_suggestion', { sessionId, suggestion: 'go on', promptId: 'p' }],
      ['session_recording_degraded', { sessionId, reason: 'write_failed' }],
      ['mcp_budget_warning', { liveCount: 1, budget: 2 }],
      ['mcp_child_refused_batch', { refusedServers: [] }],
      ['artifact_changed', { sessionId, change: { artifactId: 'a', action: 'created' } }],
      ['terminal_sequence', { sequence: '\u001b[2J' }],
      ['source_changed', { sessionId, revision: 3 }],
      ['model_switched', { sessionId, modelId: 'm2' }],
      ['background_notification_turn_complete', { sessionId, reason: 'end_turn', turnId: 't' }],
    ]);
    const switched = told.find(({ type }) => type === 'model_switched');
    expect(switched?.originatorClientId).toBe(clientId);
    const { json } = await call(baseUrl, 'GET', `/session/${sessionId}/status`);
    expect(json.displayName).toBe('A title');
  });

  test('before its session/new is answered comes first on that session’s bus, in order', async () => {
    const { baseUrl } = await startDaemon();
    const { sessionId } = await newSession(baseUrl);
    const updates = [1, 2].map((number) => ({
      sessionUpdate: 'stub_early',
      number,
      extra: { deep: [null] },
    }));
    const early = [
      `early:${JSON.stringify(updates[0])}`,
      `early-notify:${NOTIFY}/title-update:${JSON.stringify({ v: 1, title: 'Early' })}`,
      `early:${JSON.stringify(updates[1])}`,
    ];
    await play(baseUrl, sessionId, ...early);
    const fresh = await newSession(baseUrl);
    const stream = await streamFrom(baseUrl, fresh.sessionId, { lastEventId: 0, eventEpoch: 'x' });
    await stream.event('replay_complete');
    const events = stream.envelopes.filter(({ id }) => id !== undefined);
    expect(events.map(({ id, data }) => [id, data])).toEqual([
      [1, { sessionId: fresh.sessionId, update: updates[0] }],
      [2, { sessionId: fresh.sessionId, displayName: 'Early' }],
      [3, { sessionId: fresh.sessionId, update: updates[1] }],
    ]);
  });
});

describe('what the agent asks', () => {
  test('is "method not found" where the bridge has no answer', async () => {
    const { baseUrl } = await startDaemon();
    const { sessionId } = await newSession(baseUrl);
    for (const method of [
      'qwen/control/create-sub-session',
      'craft/claimTodoStopGuardContinuation',
      'terminal/create',
      'toString',
      'session/update',
    ])
      expect(await answerTo(baseUrl, sessionId, method)).toEqual({
        error: { code: -32601, message: expect.stringContaining('Method not found') },
      });
    // A background turn is known, and declined.
    expect(await answerTo(baseUrl, sessionId, '_qwencode/start_turn')).toEqual({
      result: { accepted: false },
    });
  });

  test('for mid-turn messages is answered with them, once, and clients see them injected', async () => {
    const { baseUrl } = await startDaemon();
    const { sessionId } = await newSession(baseUrl);
    const drain = ask('craft/drainMidTurnQueue');
    const admission = await sendPrompt(baseUrl, sessionId, ['sleep:1200', drain, drain].join(' ; '));
    const stream = await streamFrom(baseUrl, sessionId, admission);
    const { json } = await call(baseUrl, 'POST', `/session/${sessionId}/mid-turn-message`, {
      json: { message: 'wait' },
    });
    await sendPrompt(baseUrl, sessionId, 'next');
    await stream.settled(admission.promptId);
    const [first, second] = stream.texts.map((text) => (JSON.parse(text) as { result: Json }).result);
    expect(first).toEqual({
      messages: ['wait'],
      items: [{ id: json.messageId, text: 'wait' }],
      hasQueuedPrompt: true,
    });
    expect(second).toMatchObject({ messages: [], items: [] });
    const injected = await stream.event('mid_turn_message_injected');
    expect(injected).toMatchObject({
      promptId: admission.promptId,
      data: { messages: ['wait'], messageIds: [json.messageId] },
    });
  });

  describe('of files', () => {
    test('inside the workspace is done, symlinks that stay inside included', async () => {
      const { baseUrl, workspace } = await startDaemon();
      const { sessionId } = await newSession(baseUrl);
      mkdirSync(join(workspace, 'real'));
      symlinkSync(join(workspace, 'real'), join(workspace, 'link'));
      const path = join(workspace, 'link', 'new', 'file.txt');
      const content = 'one\r\ntwo\nthree ä';
      expect(await answerTo(baseUrl, sessionId, 'fs/write_text_file', { path, content })).toEqual({
        result: null,
      });
      expect(readFileSync(join(workspace, 'real', 'new', 'file.txt'), 'utf8')).toBe(content);
      expect(await answerTo(baseUrl, sessionId, 'fs/read_text_file', { path })).toEqual({
        result: { content },
      });
      expect(await answerTo(baseUrl, sessionId, 'fs/read_text_file', { path, line: 2, limit: 1 })).toEqual({
        result: { content: 'two' },
      });
    });

    test('outside is refused, by whatever way it leads there, and nothing is touched', async () => {
      const { baseUrl, workspace, scratch } = await startDaemon();
      const { sessionId } = await newSession(baseUrl);
      const outside = join(scratch.dir, 'outside.txt');
      writeFileSync(outside, 'secret');
      symlinkSync(outside, join(workspace, 'link.txt'));
      symlinkSync(scratch.dir, join(workspace, 'way-out'));
      symlinkSync(join(scratch.dir, 'not-yet'), join(workspace, 'dangling'));
      const ways = [
        outside,
        `${workspace}/../outside.txt`,
        join(workspace, 'link.txt'),
        join(workspace, 'way-out', 'outside.txt'),
        join(workspace, 'dangling', 'new.txt'),
        'outside.txt',
      ];
      for (const path of ways)
        for (const method of ['fs/read_text_file', 'fs/write_text_file'])
          expect(await answerTo(baseUrl, sessionId, method, { path, content: 'changed' })).toMatchObject({
            error: { code: expect.any(Number) },
          });
      expect(readFileSync(outside, 'utf8')).toBe('secret');
      // A link that leads nowhere may be replaced by a file, but nothing comes to be where it leads.
      await answerTo(baseUrl, sessionId, 'fs/write_text_file', {
        path: join(workspace, 'dangling'),
        content: 'x',
      });
      expect(existsSync(join(scratch.dir, 'not-yet'))).toBe(false);
    });
  });
});

describe('an agent that does not make a session', () => {
  test('because it does not answer is 504 with the phase and the time, and its child is gone', async () => {
    const flags = ['--initialize-timeout-ms', '300'];
    const server = await startDaemon({ agent: stubAgent('--silent-init'), flags });
    const { status, json } = await call(server.baseUrl, 'POST', '/session', { json: {} });
    expect(status).toBe(504);
    expect(json).toEqual({
      error: expect.stringContaining('300 ms'),
      code: 'init_timeout',
      errorKind: 'init_timeout',
      retryable: true,
      phase: 'channel.initialize',
      timeoutMs: 300,
    });
    await eventually('the end of the child', () => agentsOf(server).length === 0);
    expect(await deepHealth(server.baseUrl)).toMatchObject({ sessions: 0, channelAlive: false });
  });

  test('because it refuses to hands its error on, and its otherwise empty child is gone', async () => {
    const server = await startDaemon({ agent: stubAgent('--no-new') });
    const { status, json } = await call(server.baseUrl, 'POST', '/session', { json: {} });
    expect([status, json]).toEqual([
      500,
      { error: 'no new sessions', code: -32603, data: { errorKind: 'stub' } },
    ]);
    await eventually('the end of the child', () => agentsOf(server).length === 0);
  });

  test('because it ends at once is 503 with its exit and last words', async () => {
    const server = await startDaemon({ agent: stubAgent('--exit-on-init', '3') });
    const { status, json } = await call(server.baseUrl, 'POST', '/session', { json: {} });
    expect([status, json.code, json.exitCode]).toEqual([503, 'acp_channel_unavailable', 3]);
    expect(json.lastLines).toEqual(['cannot go on']);
  });

  test('because it is not installed is 503 and says so', async () => {
    const server = await startDaemon({ agent: 'no-such-agent-here --acp' });
    const { status, json } = await call(server.baseUrl, 'POST', '/session', { json: {} });
    expect([status, json.code, json.errorKind]).toEqual([503, 'acp_channel_unavailable', 'missing_binary']);
    expect((await call(server.baseUrl, 'GET', '/health')).status).toBe(200);
  });
});

describe('a creator that vanished', () => {
  test.each([
    ['while the agent starts', '--slow-init'],
    ['while the agent makes the session', '--slow-new'],
  ])('%s leaves no session and no child', async (_when, slow) => {
    const flags = ['--channel-reuse-ms', '50'];
    const server = await startDaemon({ agent: stubAgent(slow, '1200'), flags });
    await abandonedCreate(server.baseUrl, 150);
    await eventually('the start of the agent', () => agentsOf(server).length === 1);
    await eventually('the end of the child', () => agentsOf(server).length === 0);
    expect(await deepHealth(server.baseUrl)).toMatchObject({ sessions: 0 });
  });

  test('leaves the session to the one that shares it', async () => {
    const server = await startDaemon({ agent: stubAgent('--slow-new', '1200') });
    const abandoned = abandonedCreate(server.baseUrl, 150);
    const { status, json } = await call(server.baseUrl, 'POST', '/session', { json: {} });
    await abandoned;
    expect(status).toBe(200);
    const shown = await call(server.baseUrl, 'GET', `/session/${json.sessionId}/status`);
    expect(shown.json).toMatchObject({ clientCount: 1 });
    expect(await deepHealth(server.baseUrl)).toMatchObject({ sessions: 1 });
  });
});

test('a create while the old child is still dying gets a fresh one at once', async () => {
  const flags = [
    '--channel-reuse-ms',
    '10',
    '--agent-kill-grace-ms',
    '8000',
    '--agent-stdin-grace-ms',
    '100',
  ];
  const server = await startDaemon({ agent: stubAgent('--ignore-term'), flags });
  const { sessionId } = await newSession(server.baseUrl);
  const [old] = agentsOf(server);
  await call(server.baseUrl, 'DELETE', `/session/${sessionId}`);
  const alive = async () => (await deepHealth(server.baseUrl)).channelAlive;
  await eventually('the end of the old channel', async () => (await alive()) === false);
  const fresh = await newSession(server.baseUrl);
  const [oldPid = 0, freshPid = 0] = [old?.pid, agentsOf(server).find(({ pid }) => pid !== old?.pid)?.pid];
  expect(isRunning(oldPid)).toBe(true);
  signalPid(oldPid, 'SIGKILL');
  await eventually('the end of the old child', () => !isRunning(oldPid));
  const stream = await play(server.baseUrl, fresh.sessionId, 'hello');
  expect(stream.texts).toEqual(['echo: hello']);
  // It ignores every other way to end it.
  signalPid(freshPid, 'SIGKILL');
});

test('a crash ends the running prompt, then the waiting ones by their own code, then the session', async () => {
  const { baseUrl } = await startDaemon();
  const { sessionId } = await newSession(baseUrl);
  const running = await sendPrompt(baseUrl, sessionId, 'sleep:1200 ; crash');
  const stream = await streamFrom(baseUrl, sessionId, running);
  const waiting = [
    await sendPrompt(baseUrl, sessionId, 'two'),
    await sendPrompt(baseUrl, sessionId, 'three'),
  ];
  expect(await stream.end).toBe('ended');
  const story = stream.envelopes.slice(stream.types.indexOf('prompt_cancelled')).map(({ type, data }) => {
    const { code, reason, promptId } = data as Json;
    return [type, code ?? reason, promptId];
  });
  expect(story.filter(([type]) => type !== 'pending_prompt_completed')).toEqual([
    ['prompt_cancelled', 'forward_failed', undefined],
    ['turn_error', undefined, running.promptId],
    ...waiting.map(({ promptId }) => ['turn_error', 'channel_closed', promptId]),
    ['session_died', 'channel_closed', undefined],
  ]);
  expect(stream.envelopes.at(-1)?.data).toMatchObject({ exitCode: 7 });
  expect((await call(baseUrl, 'GET', `/session/${sessionId}/status`)).status).toBe(404);
});
