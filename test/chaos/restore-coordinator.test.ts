// The coordinator goes, with its daemons or without: what the next one finds, brings back, or leaves alone.
import { afterEach, describe, expect, test } from '@jest/globals';
import { workspaceIdOf } from '../../daemon/contract/canonical-path.ts';
import {
  becomes,
  heartbeat,
  isBack,
  killDaemon,
  sessionRow,
  startDormant,
  streamAll,
} from '../support/dormant-sessions.ts';
import { eventually } from '../support/eventually.ts';
import { endFleets, type Server } from '../support/fleet-process.ts';
import { signalPid } from '../support/scratch.ts';
import { streamFrom } from '../support/sse-stream.ts';
import { rowsOf } from '../support/state-database.ts';
import { call, newSession, sendPrompt } from '../support/wire-client.ts';

afterEach(endFleets);

const next = (server: Server, flags: readonly string[] = []) =>
  startDormant([], flags, { scratch: server.scratch });

describe('a coordinator and its daemon, killed together', () => {
  test('lose no session: the next coordinator brings them back and reports their prompts', async () => {
    const server = await startDormant();
    const { sessionId, clientId } = await newSession(server.baseUrl);
    const lost = await sendPrompt(server.baseUrl, sessionId, 'hang', clientId);
    await eventually('the prompt in the database', () =>
      rowsOf(server.stateDir, 'SELECT * FROM prompts').at(0),
    );
    await killDaemon(server);
    await server.kill();
    const after = await next(server);
    await isBack(after, sessionId, clientId);
    const stream = await streamAll(after, sessionId);
    expect((await stream.settled(lost.promptId)).data).toMatchObject({ code: 'daemon_restarted' });
    const prompt = await sendPrompt(after.baseUrl, sessionId, 'and on', clientId);
    expect((await stream.settled(prompt.promptId)).data).toMatchObject({ stopReason: 'end_turn' });
    expect(stream.ids).toEqual([...stream.ids].sort((a, b) => a - b));
    stream.close();
  });

  test('while sessions are on their way back lose none of them', async () => {
    const server = await startDormant(['--slow-load', '400']);
    const sessions = await Promise.all(Array.from({ length: 8 }, () => newSession(server.baseUrl)));
    await killDaemon(server);
    await becomes(server, sessions[0]?.sessionId ?? '', 'restoring');
    await eventually('the first one back', () =>
      sessions.some(({ sessionId }) => sessionRow(server, sessionId)?.state === 'live'),
    );
    await killDaemon(server).catch(() => undefined);
    await server.kill();
    const after = await next(server);
    for (const { sessionId, clientId } of sessions) await isBack(after, sessionId, clientId);
    expect(rowsOf(server.stateDir, "SELECT * FROM daemons WHERE state <> 'ended'")).toHaveLength(1);
  });
});

describe('an orderly stop', () => {
  test('puts sessions to sleep; after the next start a prompt wakes them', async () => {
    const server = await startDormant();
    const { sessionId, clientId } = await newSession(server.baseUrl);
    await server.stop();
    expect(server.scratch.processes()).toEqual([]);
    const after = await next(server);
    expect(sessionRow(after, sessionId)).toMatchObject({ state: 'dormant' });
    expect((await heartbeat(after, sessionId, clientId)).json).toMatchObject({ dormant: true });
    expect((await after.diagnosis(0)).state).toBe('stopped');
    const prompt = await sendPrompt(after.baseUrl, sessionId, 'hello again', clientId);
    const stream = await streamFrom(after.baseUrl, sessionId, prompt);
    expect((await stream.settled(prompt.promptId)).data).toMatchObject({ stopReason: 'end_turn' });
    expect((await heartbeat(after, sessionId, clientId)).status).toBe(200);
    stream.close();
  });
});

describe('a daemon that is frozen when the coordinator is killed', () => {
  const LOOK = ['--adopt-timeout-ms', '500', '--reconcile-period-ms', '100', '--liveness-period-ms', '100'];

  test('is known by its arguments and environment, and replaced when it goes on being silent', async () => {
    const server = await startDormant();
    const { sessionId, clientId } = await newSession(server.baseUrl);
    const lost = await sendPrompt(server.baseUrl, sessionId, 'hang', clientId);
    await eventually('the prompt in the database', () =>
      rowsOf(server.stateDir, 'SELECT * FROM prompts').at(0),
    );
    const { pid } = await server.diagnosis(0);
    signalPid(pid, 'SIGSTOP');
    await server.kill();
    const graces = ['--stop-grace-ms', '500', '--shutdown-grace-ms', '400'];
    const after = await next(server, [...LOOK, '--probe-timeout-ms', '200', ...graces]);
    await isBack(after, sessionId, clientId);
    expect((await after.diagnosis(0)).pid).not.toBe(pid);
    expect(server.scratch.processes().map((found) => found.pid)).not.toContain(pid);
    const stream = await streamAll(after, sessionId);
    expect((await stream.settled(lost.promptId)).data).toMatchObject({ code: 'daemon_restarted' });
    stream.close();
    const { text } = await call(
      after.baseUrl,
      'GET',
      `/admin/workspaces/${workspaceIdOf(server.workspace)}/why`,
    );
    expect(text).toContain('no answer to a probe');
  });

  test('serves on when it wakes before its beats are missed', async () => {
    const server = await startDormant();
    const { sessionId, clientId } = await newSession(server.baseUrl);
    const { pid, incarnation } = await server.diagnosis(0);
    signalPid(pid, 'SIGSTOP');
    try {
      await server.kill();
      const after = await next(server, [...LOOK, '--probe-timeout-ms', '5000']);
      await eventually('its adoption', async () => (await after.diagnosis(0)).state === 'starting');
      signalPid(pid, 'SIGCONT');
      await isBack(after, sessionId, clientId);
      expect(await after.diagnosis(0)).toMatchObject({ state: 'ready', pid, incarnation, starts: 1 });
    } finally {
      signalPid(pid, 'SIGCONT');
    }
  });
});
