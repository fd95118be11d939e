// An operator drains a workspace or replaces its daemon while a turn runs: the turn ends, the session goes on.
import { afterEach, describe, expect, test } from '@jest/globals';
import { becomes, heartbeat, isBack, startDormant } from '../support/dormant-sessions.ts';
import { eventually } from '../support/eventually.ts';
import { endFleets, type Server } from '../support/fleet-process.ts';
import { type SseStream, streamFrom } from '../support/sse-stream.ts';
import { type Admission, type CreatedSession, call, newSession, sendPrompt } from '../support/wire-client.ts';

afterEach(endFleets);

const LONG_DRAIN = ['--drain-timeout-ms', '8000'];

const operate = (server: Server, path: string, json: object = {}) =>
  call(server.baseUrl, 'POST', `/admin${path}`, { json });

const workspacePath = (server: Server, index = 0) =>
  `/workspaces/${encodeURIComponent(server.workspaces[index] ?? '')}`;

async function inTurn(
  server: Server,
  text: string,
): Promise<CreatedSession & { prompt: Admission; stream: SseStream }> {
  const session = await newSession(server.baseUrl);
  const prompt = await sendPrompt(server.baseUrl, session.sessionId, text, session.clientId);
  const stream = await streamFrom(server.baseUrl, session.sessionId, prompt);
  await stream.event('session_update');
  return { ...session, prompt, stream };
}

const answerOfPrompt = async (server: Server, sessionId: string) => {
  const json = { prompt: [{ type: 'text', text: 'too late' }] };
  const {
    status,
    json: body,
    headers,
  } = await call(server.baseUrl, 'POST', `/session/${sessionId}/prompt`, { json });
  return { status, code: body.code, retryAfter: headers['retry-after'] };
};

describe('drain', () => {
  test('lets the running turn and its question end, refuses new work until undrain, and then goes on', async () => {
    const server = await startDormant([], LONG_DRAIN);
    const turn = await inTurn(server, 'first ; permission ; last');
    const { requestId } = (await turn.stream.event('permission_request')).data as { requestId: string };
    const drained = operate(server, `${workspacePath(server)}/drain`, { reason: 'maintenance' });
    await eventually(
      'the refusal',
      async () => (await answerOfPrompt(server, turn.sessionId)).status === 503,
    );
    expect(await answerOfPrompt(server, turn.sessionId)).toMatchObject({ code: 'workspace_draining' });
    expect((await answerOfPrompt(server, turn.sessionId)).retryAfter).toBeDefined();
    const create = await call(server.baseUrl, 'POST', '/session', { json: { sessionScope: 'thread' } });
    expect([create.status, create.json.code]).toEqual([503, 'workspace_draining']);
    expect((await heartbeat(server, turn.sessionId, turn.clientId)).status).toBe(200);
    const vote = { json: { outcome: { outcome: 'selected', optionId: 'allow' } } };
    expect((await call(server.baseUrl, 'POST', `/permission/${requestId}`, vote)).status).toBe(200);
    expect((await turn.stream.settled(turn.prompt.promptId)).data).toMatchObject({ stopReason: 'end_turn' });
    expect(turn.stream.texts.at(-1)).toBe('echo: last');
    expect((await drained).status).toBe(200);
    await becomes(server, turn.sessionId, 'dormant');
    expect(await answerOfPrompt(server, turn.sessionId)).toMatchObject({
      status: 503,
      code: 'workspace_draining',
    });
    expect((await operate(server, `${workspacePath(server)}/undrain`)).status).toBe(200);
    expect((await answerOfPrompt(server, turn.sessionId)).status).toBe(202);
  });

  test('is a stored hold: it outlives the coordinator', async () => {
    const server = await startDormant();
    const { sessionId } = await newSession(server.baseUrl);
    expect((await operate(server, `${workspacePath(server)}/drain`)).status).toBe(200);
    await server.kill();
    const after = await startDormant([], [], { scratch: server.scratch });
    expect(await answerOfPrompt(after, sessionId)).toMatchObject({ status: 503, code: 'workspace_draining' });
    const why = await call(after.baseUrl, 'GET', `/admin${workspacePath(after)}/why`);
    expect(why.text).toContain('workspace_draining');
    await operate(after, `${workspacePath(after)}/undrain`);
    expect((await answerOfPrompt(after, sessionId)).status).toBe(202);
  });
});

describe('a rolling restart', () => {
  test('lets the turn end, has the old daemon gone before the new one comes, and brings the sessions back', async () => {
    const server = await startDormant([], LONG_DRAIN);
    const turn = await inTurn(server, 'N:5:50 ; sleep:2500 ; last');
    const dormantSessions = await newSession(server.baseUrl);
    const before = await server.diagnosis(0);
    const restarted = operate(server, '/restart');
    await eventually(
      'the refusal',
      async () => (await answerOfPrompt(server, dormantSessions.sessionId)).status === 503,
    );
    const parked = newSession(server.baseUrl);
    expect((await turn.stream.settled(turn.prompt.promptId)).data).toMatchObject({ stopReason: 'end_turn' });
    expect(await turn.stream.end).toBe('ended');
    expect(turn.stream.types).not.toContain('stream_error');
    expect((await restarted).json.restarted).toEqual([expect.objectContaining({ ok: true })]);
    expect((await parked).attached).toBe(false);
    for (const { sessionId, clientId } of [turn, dormantSessions]) await isBack(server, sessionId, clientId);
    const after = await server.diagnosis(0);
    expect(after).toMatchObject({ state: 'ready', starts: 2, sessions: 3 });
    expect(after.pid).not.toBe(before.pid);
    expect((await answerOfPrompt(server, turn.sessionId)).status).toBe(202);
  });
});

test('a version that does not start is taken back: the sessions go on with the daemon of before', async () => {
  const server = await startDormant();
  const { sessionId, clientId } = await newSession(server.baseUrl);
  await server.kill();
  const broken = ['--daemon-command', `${process.execPath} ${server.stateDir}/no-such-version.js`];
  const after = await startDormant([], broken, { scratch: server.scratch });
  expect((await heartbeat(after, sessionId, clientId)).status).toBe(200);
  const before = await after.diagnosis(0);
  const answer = await operate(after, `${workspacePath(after)}/restart`);
  expect(answer.status).toBe(200);
  expect(JSON.stringify(answer.json)).toMatch(/exit(ed with)? code 1.*Rolled back to/s);
  expect((await after.diagnosis(0)).pid).not.toBe(before.pid);
  // It may have gone to sleep over the failed start; a prompt brings it back in any case.
  expect((await sendPrompt(after.baseUrl, sessionId, 'still here', clientId)).promptId).toBeDefined();
  await isBack(after, sessionId, clientId);
});
