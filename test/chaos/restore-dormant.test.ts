// Idle daemons end and their sessions sleep: a gesture wakes them, looking on does not.
import { afterEach, describe, expect, test } from '@jest/globals';
import { becomes, heartbeat, sessionRow, startDormant, streamAll } from '../support/dormant-sessions.ts';
import { eventually } from '../support/eventually.ts';
import { endFleets, type Server, stubAgent } from '../support/fleet-process.ts';
import { streamFrom } from '../support/sse-stream.ts';
import { call, clientHeader, newSession, sendPrompt } from '../support/wire-client.ts';

afterEach(endFleets);

const IDLE = [
  '--idle-timeout-ms',
  '400',
  '--watched-idle-timeout-ms',
  '60000',
  '--idle-check-period-ms',
  '50',
];

/** A session that was left alone until its daemon was stopped. */
async function asleep(server: Server) {
  const session = await newSession(server.baseUrl);
  await becomes(server, session.sessionId, 'dormant');
  await eventually('the end of the daemon', async () => (await server.diagnosis(0)).state === 'stopped');
  return session;
}

describe('an idle daemon', () => {
  test('is stopped, and a prompt wakes its session for the client that it had', async () => {
    const server = await startDormant([], IDLE);
    const { sessionId, clientId } = await asleep(server);
    const prompt = await sendPrompt(server.baseUrl, sessionId, 'good morning', clientId);
    const stream = await streamFrom(server.baseUrl, sessionId, prompt);
    expect((await stream.settled(prompt.promptId)).data).toMatchObject({ stopReason: 'end_turn' });
    expect(stream.texts).toEqual(['echo: good morning']);
    expect((await heartbeat(server, sessionId, clientId)).status).toBe(200);
    expect(await server.diagnosis(0)).toMatchObject({ state: 'ready', starts: 2 });
    stream.close();
  });

  test('twenty gestures at once wake one daemon', async () => {
    const server = await startDormant([], IDLE);
    const { sessionId, clientId } = await asleep(server);
    const answers = await Promise.all(
      Array.from({ length: 20 }, () =>
        call(server.baseUrl, 'POST', `/session/${sessionId}/load`, {
          json: {},
          headers: clientHeader(clientId),
        }),
      ),
    );
    expect(answers.map(({ status }) => status)).toEqual(answers.map(() => 200));
    expect((await server.diagnosis(0)).starts).toBe(2);
  });

  test('is not woken by those who only look on', async () => {
    const server = await startDormant([], IDLE);
    const { sessionId, clientId } = await asleep(server);
    const sleeps = { code: 'session_not_found', dormant: true };
    expect(await heartbeat(server, sessionId, clientId)).toMatchObject({ status: 404, json: sleeps });
    const events = await call(server.baseUrl, 'GET', `/session/${sessionId}/events`);
    expect(events).toMatchObject({ status: 404, json: sleeps });
    for (const action of ['cancel', 'detach'])
      expect(
        (await call(server.baseUrl, 'POST', `/session/${sessionId}/${action}`, { json: {} })).status,
      ).toBe(204);
    expect(await server.diagnosis(0)).toMatchObject({ state: 'stopped', starts: 1 });
  });

  test('leaves listing and status to the store', async () => {
    const server = await startDormant([], IDLE);
    const { sessionId } = await asleep(server);
    const list = await call(
      server.baseUrl,
      'GET',
      `/workspace/${encodeURIComponent(server.workspace)}/sessions`,
    );
    expect(list.json.sessions).toEqual([
      expect.objectContaining({ sessionId, workspaceCwd: server.workspace }),
    ]);
    const status = await call(server.baseUrl, 'GET', `/session/${sessionId}/status`);
    expect(status).toMatchObject({ status: 200, json: { sessionId } });
    expect((await server.diagnosis(0)).starts).toBe(1);
  });

  test('lets a sleeping session be closed without waking', async () => {
    const server = await startDormant([], IDLE);
    const { sessionId } = await asleep(server);
    expect((await call(server.baseUrl, 'DELETE', `/session/${sessionId}`)).status).toBe(204);
    expect(sessionRow(server, sessionId)).toMatchObject({ state: 'closed' });
    expect((await call(server.baseUrl, 'POST', `/session/${sessionId}/prompt`, { json: {} })).status).toBe(
      404,
    );
    expect((await server.diagnosis(0)).starts).toBe(1);
  });

  test('is none while a turn runs, a question is open or somebody looks on', async () => {
    const server = await startDormant([], IDLE);
    const { sessionId } = await newSession(server.baseUrl);
    const stream = await streamAll(server, sessionId);
    const prompt = await sendPrompt(server.baseUrl, sessionId, 'sleep:900 ; permission');
    stream.close();
    const again = await streamFrom(server.baseUrl, sessionId, prompt);
    const { requestId } = (await again.event('permission_request')).data as { requestId: string };
    again.close();
    await new Promise((resolve) => setTimeout(resolve, 900));
    expect(await server.diagnosis(0)).toMatchObject({ state: 'ready', starts: 1 });
    const vote = { json: { outcome: { outcome: 'selected', optionId: 'allow' } } };
    expect((await call(server.baseUrl, 'POST', `/permission/${requestId}`, vote)).status).toBe(200);
    await becomes(server, sessionId, 'dormant');
  });

  test('is kept while it has sessions that its agent could not bring back', async () => {
    const server = await startDormant([], IDLE, { agent: stubAgent() });
    const { sessionId } = await newSession(server.baseUrl);
    await new Promise((resolve) => setTimeout(resolve, 1200));
    expect(await server.diagnosis(0)).toMatchObject({ state: 'ready', sessions: 1 });
    await call(server.baseUrl, 'DELETE', `/session/${sessionId}`);
    await eventually('its end', async () => (await server.diagnosis(0)).state === 'stopped');
  });
});

describe('a slow create', () => {
  test('keeps its daemon, however short the idle timeout', async () => {
    const server = await startDormant(['--slow-new', '1200'], IDLE);
    expect((await newSession(server.baseUrl)).attached).toBe(false);
    expect((await server.diagnosis(0)).starts).toBe(1);
  });

  test('is not evicted for another workspace', async () => {
    const flags = ['--max-daemons', '1', '--feed-beat-ms', '100'];
    const server = await startDormant(['--slow-new', '1500'], flags, { workspaces: 2 });
    const first = newSession(server.baseUrl, server.workspaces[0]);
    await eventually('the first daemon', async () => (await server.diagnosis(0)).state === 'ready');
    const refused = await call(server.baseUrl, 'POST', '/session', { json: { cwd: server.workspaces[1] } });
    expect(refused).toMatchObject({ status: 503, json: { limit: 1, used: 1 } });
    expect((await first).attached).toBe(false);
  });
});

describe('with room for one daemon', () => {
  test('two workspaces are served one after the other, by eviction of the one that is idle', async () => {
    const server = await startDormant([], ['--max-daemons', '1'], { workspaces: 2 });
    const [first, second] = await server.workspaces.reduce<
      Promise<{ sessionId: string; clientId: string }[]>
    >(async (made, path) => [...(await made), await newSession(server.baseUrl, path)], Promise.resolve([]));
    for (const session of [first, second, first, second]) {
      if (session === undefined) throw new Error('two sessions were asked for');
      // Right after a turn the other one may still count as watched: then the refusal says when to come again.
      const prompt = await eventually('an admitted prompt', () =>
        sendPrompt(server.baseUrl, session.sessionId, 'hello', session.clientId).catch(() => false as const),
      );
      const stream = await streamFrom(server.baseUrl, session.sessionId, prompt);
      expect((await stream.settled(prompt.promptId)).data).toMatchObject({ stopReason: 'end_turn' });
      stream.close();
      const running = (await server.diagnostics()).filter(({ pid }) => pid !== null);
      expect(running).toHaveLength(1);
    }
  });

  test('a workspace in a turn is not evicted: the other is told the limit and when to come again', async () => {
    const server = await startDormant([], ['--max-daemons', '1'], { workspaces: 2 });
    const { sessionId } = await newSession(server.baseUrl);
    await sendPrompt(server.baseUrl, sessionId, 'hang');
    await eventually('the turn', async () => {
      const { json } = await call(server.baseUrl, 'GET', `/session/${sessionId}/status`);
      return json.hasActivePrompt === true;
    });
    await new Promise((resolve) => setTimeout(resolve, 300));
    const refused = await call(server.baseUrl, 'POST', '/session', { json: { cwd: server.workspaces[1] } });
    expect(refused).toMatchObject({ status: 503, json: { limit: 1, used: 1, evictable: [] } });
    expect(Number(refused.headers['retry-after'])).toBeGreaterThan(0);
    expect(await server.diagnosis(0)).toMatchObject({ state: 'ready', starts: 1 });
  });
});
