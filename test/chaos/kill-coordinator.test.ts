// The coordinator is killed: daemons and turns go on, and the next coordinator on the same state directory takes them over.
import { afterEach, describe, expect, test } from '@jest/globals';
import { askDaemon, type DaemonSocket, daemonSocket } from '../support/daemon-socket.ts';
import { eventually, within } from '../support/eventually.ts';
import { endFleets, type Server, startCoordinator, stubAgent } from '../support/fleet-process.ts';
import { isRunning, type Scratch, signalPid } from '../support/scratch.ts';
import { seeded } from '../support/seeded.ts';
import { openStream, streamFrom } from '../support/sse-stream.ts';
import { call, clientHeader, newSession, sendPrompt } from '../support/wire-client.ts';

afterEach(endFleets);

/** Kills the coordinator alone and starts the next one in the same world. */
async function replaced(server: Server): Promise<Server> {
  await server.kill();
  return startCoordinator({ scratch: server.scratch });
}

const daemonsOf = (scratch: Scratch) =>
  scratch.processes().filter(({ command }) => command.includes('/daemon/main.js --incarnation'));

describe('kill -9 of the coordinator', () => {
  test('cuts the clients off, and neither the daemon nor its turn notices', async () => {
    const server = await startCoordinator();
    const { sessionId } = await newSession(server.baseUrl);
    const admission = await sendPrompt(server.baseUrl, sessionId, 'N:2000:200:1');
    const stream = await streamFrom(server.baseUrl, sessionId, admission);
    await eventually('a turn in full flow', () => stream.ids.length > 50);
    const before = await server.diagnosis(0);
    await server.kill();
    expect(await within('the end of the connection', 20_000, stream.end)).toBe('cut');
    expect(isRunning(before.pid ?? 0)).toBe(true);
    expect(isRunning(before.agent?.pid ?? 0)).toBe(true);
  });

  test('loses no event of a running turn: a client resumes with its cursor at the next coordinator', async () => {
    const count = 2500;
    const server = await startCoordinator();
    const { sessionId } = await newSession(server.baseUrl);
    const admission = await sendPrompt(server.baseUrl, sessionId, `N:${count}:200:1`);
    const stream = await streamFrom(server.baseUrl, sessionId, admission);
    await eventually('a turn in full flow', () => stream.ids.length > 50);
    const before = await server.diagnosis(0);
    const next = await replaced(server);
    const seen = stream.ids.at(-1) ?? 0;
    expect(seen).toBeLessThan(count);
    const rest = await openStream(next.baseUrl, sessionId, {
      headers: { 'last-event-id': String(seen), 'x-qwen-event-epoch': admission.eventEpoch },
    });
    expect((await rest.settled(admission.promptId)).data).toMatchObject({ stopReason: 'end_turn' });
    expect([...stream.ids, ...rest.ids]).toEqual(
      Array.from({ length: count + 2 }, (_value, index) => index + 1),
    );
    const numbers = [...stream.texts, ...rest.texts].map((text) => Number.parseInt(text, 10));
    expect(numbers).toEqual(Array.from({ length: count }, (_value, index) => index));
    const after = await next.diagnosis(0);
    expect(after).toMatchObject({ state: 'ready', sessions: 1, starts: 1 });
    expect([after.pid, after.incarnation, after.agent?.pid]).toEqual([
      before.pid,
      before.incarnation,
      before.agent?.pid,
    ]);
    rest.close();
  });

  test('keeps client ids, open questions and queued prompts', async () => {
    const server = await startCoordinator();
    const { sessionId, clientId } = await newSession(server.baseUrl);
    const first = await sendPrompt(server.baseUrl, sessionId, 'permission', clientId);
    const stream = await streamFrom(server.baseUrl, sessionId, first);
    const { requestId } = (await stream.event('permission_request')).data as { requestId: string };
    const second = await sendPrompt(server.baseUrl, sessionId, 'second', clientId);
    const next = await replaced(server);
    const headers = clientHeader(clientId);
    expect((await call(next.baseUrl, 'POST', `/session/${sessionId}/heartbeat`, { headers })).status).toBe(
      200,
    );
    const rest = await streamFrom(next.baseUrl, sessionId, first);
    const vote = { json: { outcome: { outcome: 'selected', optionId: 'allow' } }, headers };
    expect((await call(next.baseUrl, 'POST', `/permission/${requestId}`, vote)).status).toBe(200);
    for (const { promptId } of [first, second])
      expect((await rest.settled(promptId)).data).toMatchObject({ stopReason: 'end_turn' });
    expect(rest.ofType('turn_complete')).toHaveLength(2);
    rest.close();
  });

  test('at any moment of many creates loses none that was answered, and starts nothing twice', async () => {
    const random = seeded(19_700_101);
    // A kill between a daemon's row and its pid holds the workspace until the start's deadline: a short one here.
    const flags = ['--start-timeout-ms', '4000', '--reconcile-period-ms', '200'];
    let server = await startCoordinator({ flags });
    const answered: string[] = [];
    for (let round = 0; round < 4; round += 1) {
      const create = () =>
        call(server.baseUrl, 'POST', '/session', { json: { sessionScope: 'thread' } }).then(
          ({ status, json }) => (status === 200 ? answered.push(String(json.sessionId)) : undefined),
          () => undefined,
        );
      const creates = Array.from({ length: 6 }, create);
      await new Promise((resolve) => setTimeout(resolve, random() * 250));
      await server.kill();
      server = await startCoordinator({ scratch: server.scratch, flags });
      await Promise.all(creates);
    }
    // Whatever was under way has an answer now, from the one daemon that there is.
    const last = await eventually('a session after the last kill', async () => {
      const answer = await call(server.baseUrl, 'POST', '/session', { json: { sessionScope: 'thread' } });
      if (answer.status === 200) return String(answer.json.sessionId);
      expect([answer.status, answer.json.code]).toEqual([503, 'workspace_runtime_unavailable']);
      return undefined;
    });
    expect(daemonsOf(server.scratch)).toHaveLength(1);
    for (const sessionId of [...answered, last]) {
      const { status, json } = await call(server.baseUrl, 'GET', `/session/${sessionId}/status`);
      expect([status, json.sessionId]).toEqual([200, sessionId]);
    }
  });

  test('and of its daemon leaves nothing: the next coordinator records the end and starts afresh', async () => {
    const server = await startCoordinator({ agent: stubAgent('--ignore-term') });
    const { sessionId } = await newSession(server.baseUrl);
    const admission = await sendPrompt(server.baseUrl, sessionId, 'setsid-child ; hang');
    const stream = await streamFrom(server.baseUrl, sessionId, admission);
    await eventually('the child', () => stream.texts.length === 1);
    const child = Number(stream.texts[0]?.slice('child:'.length));
    const before = await server.diagnosis(0);
    await server.kill();
    signalPid(before.pid, 'SIGKILL');
    const next = await startCoordinator({ scratch: server.scratch });
    await eventually(
      'the end of what the daemon left',
      () => ![child, before.agent?.pid ?? 0].some(isRunning),
    );
    expect((await call(next.baseUrl, 'GET', `/session/${sessionId}/status`)).status).toBe(404);
    expect((await newSession(next.baseUrl)).attached).toBe(false);
    expect((await next.diagnosis(0)).starts).toBe(2);
  });

  test('that has just told its daemon to let go leaves one that the next coordinator ends and replaces', async () => {
    const agent = stubAgent('--load');
    const server = await startCoordinator({ workspaces: 1, agent });
    const { sessionId, clientId } = await newSession(server.baseUrl);
    const before = await server.diagnosis(0);
    const daemon = daemonSocket(server);
    await server.kill();
    // Its last word, on the way to the daemon when it died.
    expect((await askDaemon(daemon, 'POST', '/control/release')).json).toEqual({ released: true });
    expect((await askDaemon(daemon, 'GET', '/control/identity')).json).toMatchObject({ ending: true });
    const next = await startCoordinator({ scratch: server.scratch, agent });
    await newSession(next.baseUrl);
    await sendPrompt(next.baseUrl, sessionId, 'go on', clientId);
    const after = await next.diagnosis(0);
    expect(after).toMatchObject({ state: 'ready', starts: 2, sessions: 2 });
    expect(after.pid).not.toBe(before.pid);
    expect(isRunning(before.pid ?? 0)).toBe(false);
  });
});

describe('a daemon that no coordinator follows for its orphan limit', () => {
  const ORPHANED = ['--orphan-limit', '1500', '--feed-beat-ms', '50'];

  /** A session with an open question, followed on the daemon's own socket. */
  async function questioned(server: Server) {
    const { sessionId, clientId } = await newSession(server.baseUrl);
    const admission = await sendPrompt(server.baseUrl, sessionId, 'permission', clientId);
    const daemon = daemonSocket(server);
    const stream = await openStream(daemon.base, sessionId, {
      headers: { ...daemon.headers, 'last-event-id': String(admission.lastEventId) },
    });
    const { requestId } = (await stream.event('permission_request')).data as { requestId: string };
    return { sessionId, admission, daemon, stream, requestId };
  }

  const refusesWork = (daemon: DaemonSocket) =>
    eventually('the refusal of new work', async () => {
      const { status, json } = await askDaemon(daemon, 'POST', '/session');
      return status === 503 && json.code === 'daemon_draining';
    });

  const ALLOWED = { outcome: { outcome: 'selected', optionId: 'allow' } };

  test('ends', async () => {
    const server = await startCoordinator({ flags: ORPHANED });
    await Promise.all(server.workspaces.map((workspace) => newSession(server.baseUrl, workspace)));
    expect(daemonsOf(server.scratch)).toHaveLength(2);
    await server.kill();
    await eventually('an empty world', () => server.scratch.processes().length === 0);
  });

  test('refuses new work, lets the turn that runs end, and then ends', async () => {
    const server = await startCoordinator({ workspaces: 1, flags: ORPHANED });
    const { admission, daemon, stream, requestId } = await questioned(server);
    await server.kill();
    await refusesWork(daemon);
    expect((await askDaemon(daemon, 'POST', `/permission/${requestId}`, ALLOWED)).status).toBe(200);
    expect((await stream.settled(admission.promptId)).data).toMatchObject({ stopReason: 'end_turn' });
    expect((await stream.event('session_died')).data).toMatchObject({ reason: 'daemon_shutdown' });
    await eventually('an empty world', () => server.scratch.processes().length === 0);
  });

  test('ends a turn that does not end in time, by name', async () => {
    const flags = [...ORPHANED, '--orphan-drain-ms', '200'];
    const server = await startCoordinator({ workspaces: 1, flags });
    const { admission, stream } = await questioned(server);
    await server.kill();
    expect((await stream.settled(admission.promptId)).data).toMatchObject({ code: 'daemon_shutdown' });
    await eventually('an empty world', () => server.scratch.processes().length === 0);
  });

  test('takes work as before for one that comes back in between', async () => {
    const server = await startCoordinator({ workspaces: 1, flags: ORPHANED });
    const { sessionId, admission, daemon, stream, requestId } = await questioned(server);
    const before = await server.diagnosis(0);
    await server.kill();
    await refusesWork(daemon);
    const next = await startCoordinator({ scratch: server.scratch, flags: ORPHANED });
    const second = await sendPrompt(next.baseUrl, sessionId, 'second');
    const vote = await call(next.baseUrl, 'POST', `/permission/${requestId}`, { json: ALLOWED });
    expect(vote.status).toBe(200);
    for (const { promptId } of [admission, second])
      expect((await stream.settled(promptId)).data).toMatchObject({ stopReason: 'end_turn' });
    stream.close();
    expect(await next.diagnosis(0)).toMatchObject({ pid: before.pid, state: 'ready', starts: 1 });
  });
});
