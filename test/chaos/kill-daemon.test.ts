// A daemon is killed: its whole tree goes, its clients are told at a frame boundary, its neighbours notice nothing, and the
// next demand starts a new one.
import { afterEach, describe, expect, test } from '@jest/globals';
import { eventually, within } from '../support/eventually.ts';
import { endFleets, type Server, startCoordinator } from '../support/fleet-process.ts';
import { isRunning, signalPid } from '../support/scratch.ts';
import { seeded } from '../support/seeded.ts';
import { streamFrom } from '../support/sse-stream.ts';
import { rowsOf } from '../support/state-database.ts';
import { type CreatedSession, call, createSession, newSession, sendPrompt } from '../support/wire-client.ts';

afterEach(endFleets);

async function sessionsInBoth(server: Server): Promise<[CreatedSession, CreatedSession]> {
  const [first, second] = server.workspaces as [string, string];
  return Promise.all([newSession(server.baseUrl, first), newSession(server.baseUrl, second)]);
}

async function killDaemon(server: Server, index = 0): Promise<number> {
  const { pid } = await server.diagnosis(index);
  if (pid === null) throw new Error('no daemon to kill');
  process.kill(pid, 'SIGKILL');
  return pid;
}

describe('kill -9 of a daemon', () => {
  test('ends its agent and everything that the agent has started, whatever group or session that is in', async () => {
    const server = await startCoordinator();
    const [mine] = await sessionsInBoth(server);
    const admission = await sendPrompt(
      server.baseUrl,
      mine.sessionId,
      'child ; setsid-child ; holder ; hang',
    );
    const stream = await streamFrom(server.baseUrl, mine.sessionId, admission);
    await eventually('three children', () => stream.texts.length === 3);
    const children = stream.texts.map((text) => Number(text.slice('child:'.length)));
    const before = await server.diagnostics();
    const [dead, neighbour] = before;
    await killDaemon(server);
    await eventually('the end of its tree', () => ![dead?.agent?.pid ?? 0, ...children].some(isRunning));
    expect(isRunning(neighbour?.pid ?? 0)).toBe(true);
    expect(isRunning(neighbour?.agent?.pid ?? 0)).toBe(true);
  });

  test('is told to its clients as stream_error, after whole frames only', async () => {
    const server = await startCoordinator();
    const [mine] = await sessionsInBoth(server);
    const admission = await sendPrompt(server.baseUrl, mine.sessionId, 'N:100000:3000:1');
    const stream = await streamFrom(server.baseUrl, mine.sessionId, admission);
    await eventually('a stream in full flow', () => stream.ids.length > 50);
    await killDaemon(server);
    expect(await within('the end of the stream', 20_000, stream.end)).toBe('ended');
    expect(stream.unfinished).toBe('');
    expect(stream.ids).toEqual(stream.ids.map((_id, index) => index + 1));
    const last = stream.frames.at(-1);
    expect(last).toMatchObject({ id: undefined, event: 'stream_error' });
    expect(last?.envelope).toMatchObject({
      v: 1,
      type: 'stream_error',
      data: {
        error: expect.stringMatching(/\w{3,} \w+/),
        errorKind: 'daemon_died',
        retryAfterMs: expect.any(Number),
      },
    });
    expect(stream.types.filter((type) => type === 'stream_error')).toHaveLength(1);
  });

  test('is not noticed in the other workspace: a stream there misses nothing', async () => {
    const server = await startCoordinator();
    const [, other] = await sessionsInBoth(server);
    const count = 400;
    const admission = await sendPrompt(server.baseUrl, other.sessionId, `N:${count}:500:1`);
    const stream = await streamFrom(server.baseUrl, other.sessionId, admission);
    await eventually('a stream in full flow', () => stream.ids.length > 50);
    await killDaemon(server, 0);
    expect((await stream.settled(admission.promptId)).data).toMatchObject({ stopReason: 'end_turn' });
    expect(stream.ids).toEqual(Array.from({ length: count + 2 }, (_value, index) => index + 1));
    expect((await server.diagnosis(1)).starts).toBe(1);
    stream.close();
  });

  test('closes its sessions in the database with the reason, and their ids answer 404', async () => {
    const server = await startCoordinator();
    const [mine, other] = await sessionsInBoth(server);
    const { incarnation } = await server.diagnosis(0);
    await killDaemon(server);
    const row = await eventually('the end in the database', () =>
      rowsOf(
        server.stateDir,
        "SELECT * FROM daemons WHERE incarnation = ? AND state = 'ended'",
        incarnation,
      ).at(0),
    );
    expect(row).toMatchObject({ exit_code: null, exit_signal: 'SIGKILL' });
    expect(rowsOf(server.stateDir, 'SELECT * FROM sessions WHERE session_id = ?', mine.sessionId)).toEqual([
      expect.objectContaining({
        state: 'closed',
        end_reason: 'daemon_died',
        ended_at_ms: expect.any(Number),
      }),
    ]);
    expect(
      rowsOf(server.stateDir, 'SELECT state FROM sessions WHERE session_id = ?', other.sessionId),
    ).toEqual([{ state: 'live' }]);
    const answer = await call(server.baseUrl, 'GET', `/session/${mine.sessionId}/status`);
    expect([answer.status, answer.json.code]).toEqual([404, 'session_not_found']);
    expect(rowsOf(server.stateDir, "SELECT kind, detail FROM events WHERE kind = 'daemon_died'")).toEqual([
      { kind: 'daemon_died', detail: expect.stringContaining('SIGKILL') },
    ]);
  });

  test('is followed by a new daemon at the next demand, which serves', async () => {
    const server = await startCoordinator();
    await sessionsInBoth(server);
    const before = await server.diagnosis(0);
    await killDaemon(server);
    const cwd = server.workspace;
    // The first demands may still meet the dead one; they are told so, and when to come again.
    const session = await eventually('a session in the new daemon', async () => {
      const answer = await call(server.baseUrl, 'POST', '/session', { json: { cwd } });
      if (answer.status === 200) return answer.json as unknown as CreatedSession;
      expect([answer.status, answer.json.code]).toEqual([503, 'workspace_runtime_unavailable']);
      expect(Number(answer.headers['retry-after'])).toBeGreaterThan(0);
      return undefined;
    });
    const after = await server.diagnosis(0);
    expect(after).toMatchObject({ state: 'ready', starts: 2 });
    expect(after.pid).not.toBe(before.pid);
    expect(after.incarnation).not.toBe(before.incarnation);
    const admission = await sendPrompt(server.baseUrl, session.sessionId, 'hello');
    const stream = await streamFrom(server.baseUrl, session.sessionId, admission);
    await stream.settled(admission.promptId);
    expect(stream.texts).toEqual(['echo: hello']);
    stream.close();
  });

  test('while it creates sessions loses none that was answered, at any moment', async () => {
    const random = seeded(20_260_704);
    const server = await startCoordinator({
      flags: ['--restart-intensity', '1000', '--restart-first-backoff-ms', '20'],
    });
    const answered: string[] = [];
    for (let round = 0; round < 3; round += 1) {
      await eventually('a ready daemon', async () => {
        const answer = await call(server.baseUrl, 'POST', '/session', { json: { sessionScope: 'thread' } });
        if (answer.status === 200) answered.push(String(answer.json.sessionId));
        return answer.status === 200;
      });
      const creates = Array.from({ length: 10 }, () =>
        call(server.baseUrl, 'POST', '/session', { json: { sessionScope: 'thread' } }),
      );
      await new Promise((resolve) => setTimeout(resolve, random() * 60));
      await killDaemon(server);
      for (const { status, json } of await Promise.all(creates)) {
        if (status === 200) answered.push(String(json.sessionId));
        // Refused in words, never cut off.
        else expect([status, typeof json.error]).toEqual([503, 'string']);
      }
    }
    const known = rowsOf(server.stateDir, 'SELECT session_id FROM sessions').map(
      ({ session_id }) => session_id,
    );
    expect(answered.length).toBeGreaterThanOrEqual(3);
    expect(known).toEqual(expect.arrayContaining(answered));
  });
});

describe('a daemon that stops by itself', () => {
  test('SIGTERM from outside ends it in order: its clients hear session_died, and the next demand starts a new one', async () => {
    const server = await startCoordinator();
    const { sessionId } = await createSession(server.baseUrl);
    const admission = await sendPrompt(server.baseUrl, sessionId, 'hang');
    const stream = await streamFrom(server.baseUrl, sessionId, admission);
    await stream.event('session_update');
    const { pid } = await server.diagnosis(0);
    signalPid(pid, 'SIGTERM');
    await within('the end of the stream', 20_000, stream.end);
    expect((await stream.settled(admission.promptId)).data).toMatchObject({ code: 'daemon_shutdown' });
    expect(stream.envelopes.at(-1)).toMatchObject({
      type: 'session_died',
      data: { reason: 'daemon_shutdown' },
    });
    const next = await eventually('a session in the new daemon', async () => {
      const answer = await call(server.baseUrl, 'POST', '/session', { json: {} });
      return answer.status === 200 && answer.json;
    });
    expect(next.attached).toBe(false);
    expect((await server.diagnosis(0)).starts).toBe(2);
  });
});
