// The agent dies in the middle of a turn: the protocol's crash sequence, and the next session is served by a new one.
import { afterEach, describe, expect, test } from '@jest/globals';
import { eventually, within } from '../support/eventually.ts';
import { endFleets, type Server } from '../support/fleet-process.ts';
import { isRunning } from '../support/scratch.ts';
import { openStream, type SseStream, streamFrom } from '../support/sse-stream.ts';
import { FLEET, TARGETS } from '../support/targets.ts';
import { call, createSession, newSession, sendPrompt } from '../support/wire-client.ts';

afterEach(endFleets);

const status = async (server: Server, id: string) =>
  (await call(server.baseUrl, 'GET', `/session/${id}/status`)).status;

/** The one agent process that runs in the server's world. */
function agentPid(server: Server): number {
  const isAgent = ({ command }: { readonly command: string }) => /^\S+ \S+stub-agent\.mjs/.test(command);
  const agents = server.scratch.processes().filter(isAgent);
  expect(agents).toHaveLength(1);
  return agents[0]?.pid ?? 0;
}

function storyOf(stream: SseStream): string[] {
  return stream.envelopes
    .filter(({ type }) => type !== 'session_update' && type !== 'replay_complete')
    .map(({ type, data }) => {
      const { reason, code } = data as { readonly reason?: string; readonly code?: string };
      return [type, reason, code].filter((word) => word !== undefined).join(' ');
    });
}

describe.each(TARGETS)('%s whose agent dies in a turn', (_name, target) => {
  test.each([
    ['exits', 'crash', { exitCode: 7 }],
    ['is killed', 'crash-signal', { signalCode: 'SIGKILL' }],
  ])('tells every prompt its end, then of the death, when the agent %s', async (_how, directive, how) => {
    const server = await target.start();
    const { sessionId } = await createSession(server.baseUrl);
    const running = await sendPrompt(server.baseUrl, sessionId, `permission ; ${directive}`);
    const stream = await streamFrom(server.baseUrl, sessionId, running);
    const { requestId } = (await stream.event('permission_request')).data as { requestId: string };
    const queued = await sendPrompt(server.baseUrl, sessionId, 'never');
    await stream.event('pending_prompt_added');
    await call(server.baseUrl, 'POST', `/session/${sessionId}/permission/${requestId}`, {
      json: { outcome: { outcome: 'selected', optionId: 'allow' } },
    });
    expect(await within('the end of the stream', 20_000, stream.end)).toBe('ended');

    expect(storyOf(stream)).toEqual([
      'permission_request',
      'pending_prompt_added',
      'permission_resolved',
      'prompt_cancelled forward_failed',
      'turn_error',
      'turn_error channel_closed',
      'pending_prompt_completed',
      'session_died channel_closed',
    ]);
    const [first, second] = stream.ofType('turn_error').map(({ data }) => data);
    expect(first).toMatchObject({
      promptId: running.promptId,
      message: expect.stringContaining('agent channel closed'),
    });
    expect(second).toMatchObject({ promptId: queued.promptId });
    expect(stream.envelopes.at(-1)).toMatchObject({ type: 'session_died', data: { sessionId, ...how } });
    expect(stream.texts).toContain('before the crash');

    expect(await status(server, sessionId)).toBe(404);
    const next = await createSession(server.baseUrl);
    expect(next).toMatchObject({ attached: false });
    const again = await sendPrompt(server.baseUrl, next.sessionId, 'hello');
    const after = await streamFrom(server.baseUrl, next.sessionId, again);
    expect((await after.settled(again.promptId)).data).toMatchObject({ stopReason: 'end_turn' });
    after.close();
  });

  test('a kill -9 from outside ends what the agent had started, every session on it, and nothing else', async () => {
    const server = await target.start();
    const sessions = await Promise.all([newSession(server.baseUrl), newSession(server.baseUrl)]);
    const streams: SseStream[] = [];
    for (const { sessionId } of sessions) {
      const admission = await sendPrompt(server.baseUrl, sessionId, 'setsid-child ; child ; hang');
      streams.push(await streamFrom(server.baseUrl, sessionId, admission));
    }
    await eventually('four children', () => streams.every((stream) => stream.texts.length === 2));
    const children = streams.flatMap((stream) =>
      stream.texts.map((text) => Number(text.slice('child:'.length))),
    );
    process.kill(agentPid(server), 'SIGKILL');
    await Promise.all(streams.map((stream) => within('the end of the stream', 20_000, stream.end)));
    for (const stream of streams)
      expect(storyOf(stream)).toEqual([
        'prompt_cancelled forward_failed',
        'turn_error',
        'session_died channel_closed',
      ]);
    await eventually('the end of the agent’s children', () => !children.some(isRunning));
    expect(server.exit).toBeUndefined();
    expect((await call(server.baseUrl, 'GET', '/health')).status).toBe(200);
    expect((await newSession(server.baseUrl)).sessionId).toBeTruthy();
  });

  test('the last words and the answer of an agent that exits at once are not lost', async () => {
    const server = await target.start();
    const { sessionId } = await createSession(server.baseUrl);
    const stream = await openStream(server.baseUrl, sessionId);
    const admission = await sendPrompt(server.baseUrl, sessionId, 'last-words');
    await within('the end of the stream', 20_000, stream.end);
    expect(stream.texts).toEqual(['last words']);
    expect((await stream.settled(admission.promptId)).data).toMatchObject({ stopReason: 'end_turn' });
    expect(storyOf(stream)).toEqual(['turn_complete', 'session_died channel_closed']);
  });
});

describe('a coordinator whose agent dies', () => {
  test('keeps the daemon, and the other workspace goes on', async () => {
    const server = await FLEET.start();
    const [mine, other] = await Promise.all(
      server.workspaces.map((workspace) => newSession(server.baseUrl, workspace)),
    );
    if (mine === undefined || other === undefined) throw new Error('two sessions were asked for');
    const steady = await sendPrompt(server.baseUrl, other.sessionId, 'permission ; still here');
    const elsewhere = await streamFrom(server.baseUrl, other.sessionId, steady);
    const { requestId } = (await elsewhere.event('permission_request')).data as { requestId: string };
    const before = await server.diagnostics();
    await sendPrompt(server.baseUrl, mine.sessionId, 'crash');
    await eventually('the session to be gone', async () => (await status(server, mine.sessionId)) === 404);
    const after = await server.diagnostics();
    expect(after.map(({ pid, starts }) => [pid, starts])).toEqual(
      before.map(({ pid, starts }) => [pid, starts]),
    );
    await call(server.baseUrl, 'POST', `/permission/${requestId}`, {
      json: { outcome: { outcome: 'selected', optionId: 'allow' } },
    });
    expect((await elsewhere.settled(steady.promptId)).data).toMatchObject({ stopReason: 'end_turn' });
    expect(elsewhere.texts.at(-1)).toBe('echo: still here');
    elsewhere.close();
  });
});
