// Heartbeat, status, detach and close (protocol 1.4, 2.5, 2.8, 2.9 and the auto-close of 11).
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { eventually } from '../../support/eventually.ts';
import { endFleets, type Server } from '../../support/fleet-process.ts';
import { openStream, streamFrom } from '../../support/sse-stream.ts';
import { TARGETS } from '../../support/targets.ts';
import { call, clientHeader, createSession, newSession, sendPrompt } from '../../support/wire-client.ts';

/** How an agent marks a question to the person. */
const USER_QUESTION = { qwenInteractionKind: 'user_question' };

afterAll(endFleets);

describe.each(TARGETS)('%s', (_name, target) => {
  let server: Server;
  let base: string;
  const post = (id: string, action: string, clientId?: string, json: unknown = {}) =>
    call(base, 'POST', `/session/${id}/${action}`, { json, headers: clientHeader(clientId) });
  const status = (id: string) => call(base, 'GET', `/session/${id}/status`);
  const close = (id: string, clientId?: string) =>
    call(base, 'DELETE', `/session/${id}`, { headers: clientHeader(clientId) });

  beforeAll(async () => {
    server = await target.start();
    base = server.baseUrl;
  });

  test('an anonymous heartbeat names the session and when it was seen', async () => {
    const { sessionId } = await newSession(base);
    const beat = await post(sessionId, 'heartbeat');
    expect(beat.status).toBe(200);
    expect(beat.json).toEqual({ sessionId, lastSeenAt: expect.any(Number) });
  });

  test('an identified heartbeat names the client too', async () => {
    const { sessionId, clientId } = await newSession(base);
    expect((await post(sessionId, 'heartbeat', clientId)).json).toEqual({
      sessionId,
      clientId,
      lastSeenAt: expect.any(Number),
    });
  });

  test('a heartbeat ignores its body', async () => {
    const { sessionId } = await newSession(base);
    const { json } = await post(sessionId, 'heartbeat', undefined, { lastSeenAt: 1, sessionId: 'x' });
    expect(json.sessionId).toBe(sessionId);
    expect(json.lastSeenAt).toBeGreaterThan(1);
  });

  test('a forged heartbeat is 400 and moves nothing', async () => {
    const { sessionId } = await newSession(base);
    const before = (await status(sessionId)).json.updatedAt;
    await eventually('another millisecond', () => Date.now() > Date.parse(String(before)));
    const answer = await post(sessionId, 'heartbeat', 'client_of_nobody');
    expect([answer.status, answer.json]).toEqual([
      400,
      expect.objectContaining({ code: 'invalid_client_id', sessionId, clientId: 'client_of_nobody' }),
    ]);
    expect((await status(sessionId)).json.updatedAt).toBe(before);
  });

  test.each([
    ['POST', '/prompt'],
    ['POST', '/cancel'],
    ['POST', '/heartbeat'],
    ['DELETE', ''],
    ['GET', '/pending-prompts'],
    ['DELETE', '/pending-prompts/x'],
  ])('an unknown client id is 400 before any change: %s /session/:id%s', async (method, suffix) => {
    const { sessionId } = await newSession(base);
    const answer = await call(base, method, `/session/${sessionId}${suffix}`, {
      json: { prompt: [{ type: 'text', text: 'hang' }] },
      headers: clientHeader('client_of_nobody'),
    });
    expect([answer.status, answer.json.code]).toEqual([400, 'invalid_client_id']);
    const after = await status(sessionId);
    expect([after.status, after.json.hasActivePrompt]).toEqual([200, false]);
  });

  test('the status of an idle session has the protocol’s fields', async () => {
    const { sessionId } = await newSession(base);
    expect((await status(sessionId)).json).toEqual({
      sessionId,
      workspaceCwd: server.workspace,
      createdAt: expect.any(String),
      updatedAt: expect.any(String),
      clientCount: 1,
      hasActivePrompt: false,
      activeWorkState: expect.any(String),
      hasRunningBackgroundTasks: false,
      isWaitingForPermission: false,
      isWaitingForUserQuestion: false,
      pendingInteractionCount: 0,
      hasTurnError: false,
      pendingInteractions: [],
    });
  });

  test('the status tells of the turn and of the open question with its options', async () => {
    const { sessionId } = await newSession(base);
    const stream = await openStream(base, sessionId);
    await sendPrompt(base, sessionId, 'permission');
    const { requestId } = (await stream.event('permission_request')).data as { requestId: string };
    expect((await status(sessionId)).json).toMatchObject({
      hasActivePrompt: true,
      isWaitingForPermission: true,
      pendingInteractionCount: 1,
      pendingInteractions: [
        {
          requestId,
          kind: 'permission',
          createdAt: expect.any(String),
          action: { type: 'edit', title: 'edit 1' },
          options: [
            { optionId: 'allow', label: 'Allow', kind: 'allow_once' },
            { optionId: 'always' },
            { optionId: 'reject' },
          ],
        },
      ],
    });
    await close(sessionId);
  });

  test('the status tells a question to the person from a permission', async () => {
    const { sessionId } = await newSession(base);
    const stream = await openStream(base, sessionId);
    const questions = [{ question: 'Which one?', options: [{ label: 'a' }, { label: 'b' }] }, 'odd'];
    const toolCall = { toolCallId: 't', title: 'A question', _meta: USER_QUESTION, rawInput: { questions } };
    const options = [{ optionId: 'answer', name: 'Answer', kind: 'allow_once' }];
    const request = JSON.stringify({ toolCall, options });
    await sendPrompt(base, sessionId, `call:session/request_permission:${request}`);
    const { requestId } = (await stream.event('permission_request')).data as { requestId: string };
    const shown = {
      isWaitingForPermission: false,
      isWaitingForUserQuestion: true,
    };
    expect((await status(sessionId)).json).toMatchObject({
      ...shown,
      pendingInteractionCount: 1,
      pendingInteractions: [
        {
          requestId,
          kind: 'user_question',
          createdAt: expect.any(String),
          title: 'A question',
          questions: [{ ...(questions[0] as object), answerKey: '0' }],
          options: [{ optionId: 'answer', label: 'Answer', kind: 'allow_once' }],
        },
      ],
    });
    for (const listing of ['sessions?size=100', 'sessions/live-state']) {
      const at = `/workspaces/${encodeURIComponent(server.workspace)}/${listing}`;
      const { sessions } = (await call(base, 'GET', at)).json as { sessions: { sessionId: string }[] };
      expect(sessions.find((one) => one.sessionId === sessionId)).toMatchObject(shown);
    }
    await close(sessionId);
  });

  test('the status tells of the last turn’s error until a turn succeeds', async () => {
    const { sessionId } = await newSession(base);
    const stream = await openStream(base, sessionId);
    const failed = await sendPrompt(base, sessionId, 'error:-32000:out of luck');
    await stream.settled(failed.promptId);
    expect((await status(sessionId)).json).toMatchObject({
      hasTurnError: true,
      turnError: { message: 'out of luck', code: '-32000' },
    });
    const fine = await sendPrompt(base, sessionId, 'hello');
    await stream.settled(fine.promptId);
    expect((await status(sessionId)).json.hasTurnError).toBe(false);
    stream.close();
  });

  test('closing fails the running and the queued prompts, ends the stream, and the id is unknown', async () => {
    const { sessionId, clientId } = await newSession(base);
    const running = await sendPrompt(base, sessionId, 'hang');
    const queued = await sendPrompt(base, sessionId, 'never');
    const stream = await streamFrom(base, sessionId, running);
    await stream.event('pending_prompt_added');
    const answer = await close(sessionId, clientId);
    expect([answer.status, answer.text]).toEqual([204, '']);
    expect(await stream.end).toBe('ended');
    for (const { promptId } of [running, queued])
      expect((await stream.settled(promptId)).data).toMatchObject({ code: 'session_closed', promptId });
    const last = stream.envelopes.at(-1);
    expect(last).toMatchObject({
      type: 'session_closed',
      data: { sessionId, reason: 'client_close', closedBy: clientId },
    });
    expect(last?.id).toBe(Math.max(...stream.ids));
    for (const method of ['GET', 'DELETE'])
      expect(
        (await call(base, method, `/session/${sessionId}${method === 'GET' ? '/status' : ''}`)).status,
      ).toBe(404);
  });

  test('closing cancels the open question', async () => {
    const { sessionId } = await newSession(base);
    const stream = await streamFrom(base, sessionId, await sendPrompt(base, sessionId, 'permission'));
    await stream.event('permission_request');
    await close(sessionId);
    await stream.end;
    expect(stream.ofType('permission_resolved').map(({ data }) => data)).toEqual([
      expect.objectContaining({ outcome: { outcome: 'cancelled' } }),
    ]);
  });

  test('any client may close a shared session', async () => {
    const first = await createSession(base);
    const second = await createSession(base);
    expect((await close(first.sessionId, second.clientId)).status).toBe(204);
    expect((await status(first.sessionId)).status).toBe(404);
  });

  test('a detach is 204 and the last one closes the session', async () => {
    const first = await createSession(base);
    const second = await createSession(base);
    expect((await post(first.sessionId, 'detach', first.clientId)).status).toBe(204);
    expect((await status(first.sessionId)).json.clientCount).toBe(1);
    expect((await post(first.sessionId, 'detach', second.clientId)).status).toBe(204);
    expect((await status(first.sessionId)).status).toBe(404);
  });

  test('a client that is registered twice has to detach twice', async () => {
    const { sessionId, clientId } = await createSession(base);
    await call(base, 'POST', '/session', { json: {}, headers: clientHeader(clientId) });
    await post(sessionId, 'detach', clientId);
    expect((await status(sessionId)).json.clientCount).toBe(1);
    await post(sessionId, 'detach', clientId);
    expect((await status(sessionId)).status).toBe(404);
  });

  test('a detach without or with an unknown client id changes nothing', async () => {
    const { sessionId } = await newSession(base);
    expect((await post(sessionId, 'detach')).status).toBe(204);
    expect((await post(sessionId, 'detach', 'client_of_nobody')).status).toBe(204);
    expect((await status(sessionId)).json.clientCount).toBe(1);
  });

  test('a running turn holds a session without clients, and it closes when the turn settles', async () => {
    const { sessionId, clientId } = await newSession(base);
    await sendPrompt(base, sessionId, 'hang');
    await post(sessionId, 'detach', clientId);
    expect((await status(sessionId)).json).toMatchObject({ clientCount: 0, hasActivePrompt: true });
    await post(sessionId, 'cancel');
    await eventually('the session to close', async () => (await status(sessionId)).status === 404);
  });

  test('an open stream holds a session without clients', async () => {
    const { sessionId, clientId } = await newSession(base);
    const stream = await openStream(base, sessionId);
    await post(sessionId, 'detach', clientId);
    const { promptId } = await sendPrompt(base, sessionId, 'hello');
    await stream.settled(promptId);
    expect((await status(sessionId)).status).toBe(200);
    stream.close();
  });
});

describe.each(TARGETS)('%s with a short idle timeout', (_name, target) => {
  test('a quiet session is closed as idle, one with a stream is not', async () => {
    const flags = ['--session-reap-interval-ms', '20', '--session-idle-timeout-ms', '1200'];
    const { baseUrl } = await target.start({ flags });
    const quiet = await newSession(baseUrl);
    const watched = await newSession(baseUrl);
    const stream = await openStream(baseUrl, watched.sessionId);
    const statusOf = async (id: string) => (await call(baseUrl, 'GET', `/session/${id}/status`)).status;
    await eventually('the quiet session to close', async () => (await statusOf(quiet.sessionId)) === 404);
    expect(await statusOf(watched.sessionId)).toBe(200);
    stream.close();
  });
});
