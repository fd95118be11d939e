// The admin plane, and what clients hear while an operator is at work: every such operation of docs/openapi.yaml, asked of a real
// coordinator in its success and its main refusals; every answer is held against the description.
import { request } from 'node:http';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import { openSqlite } from '../../coordinator/store/driver.ts';
import { notedAdminPath } from '../../coordinator/store/lock.ts';
import { workspaceIdOf } from '../../daemon/contract/canonical-path.ts';
import { eventually } from '../support/eventually.ts';
import { endFleets, type Server, startCoordinator, stubAgent } from '../support/fleet-process.ts';
import { Examiner } from '../support/openapi.ts';
import { type Answer, call, newSession, sendPrompt } from '../support/wire-client.ts';

const AGENT = stubAgent('--ext', '--load');
const text = (words: string) => ({ json: { prompt: [{ type: 'text', text: words }] } });
const invalidJson = { body: '{', headers: { 'content-type': 'application/json' } };
const tooLong = { body: Buffer.alloc(64 * 1024 + 1, ' '), headers: invalidJson.headers };
const closers: (() => void)[] = [];

afterEach(() => {
  for (const close of closers.splice(0).reverse()) close();
});
afterAll(endFleets);

/** One request on the admin socket. */
function callAdmin({ stateDir }: Server, method: string, path: string, json: unknown): Promise<Answer> {
  const socketPath = notedAdminPath(stateDir) ?? '';
  return new Promise((resolve, reject) => {
    const headers = { 'content-type': 'application/json' };
    const req = request({ socketPath, method, path, headers, agent: false }, (res) => {
      let text = '';
      res.setEncoding('utf8');
      res.on('data', (chunk: string) => {
        text += chunk;
      });
      res.on('error', reject);
      res.on('end', () => {
        const { statusCode: status = 0, headers } = res;
        resolve({ status, headers, text, json: JSON.parse(text) as Answer['json'] });
      });
    });
    req.on('error', reject);
    req.end(JSON.stringify(json));
  });
}

describe('the admin plane', () => {
  let server: Server;
  let ask: Examiner;
  let at: string;

  beforeAll(async () => {
    server = await startCoordinator({ agent: AGENT });
    ask = new Examiner(server.baseUrl);
    at = `/admin/workspaces/${workspaceIdOf(server.workspace)}`;
  });

  test('tells how things are', async () => {
    await ask.expect(200, 'GET', '/admin/status');
    await ask.expect(200, 'GET', `${at}/why`);
    await newSession(server.baseUrl);
    await ask.expect(200, 'GET', '/admin/status');
    await ask.expect(200, 'GET', '/admin/diagnostics');
    const { json } = await ask.expect(200, 'GET', `${at}/why?limit=3`);
    expect(json).toMatchObject({ state: 'ready', events: expect.any(Array) });
    for (const limit of ['0', '1001', 'x'])
      await ask.expect([400, 'invalid_request'], 'GET', `${at}/why?limit=${limit}`);
  });

  test('changes settings', async () => {
    const { json } = await ask.expect(200, 'PATCH', at, { json: { idleTimeoutMs: 60_000, pinned: true } });
    expect(json).toMatchObject({ idleTimeoutMs: 60_000, isPinned: true });
    await ask.expect(200, 'PATCH', at, { json: { idleTimeoutMs: null, pinned: false } });
    for (const bad of [{ idle: 1 }, { pinned: 1 }, { idleTimeoutMs: -1 }])
      await ask.expect([400, 'invalid_workspace_request'], 'PATCH', at, { json: bad });
  });

  test('takes a workspace out of service and back', async () => {
    const { sessionId } = await newSession(server.baseUrl);
    const session = `/session/${sessionId}`;
    await ask.expect(200, 'POST', `${at}/drain`, { json: { reason: 'a move', drainMs: 100 } });
    const { json: held } = await ask.expect([503, 'workspace_draining'], 'POST', '/session');
    expect(held.reason).toBe('a move');
    for (const how of ['load', 'resume', 'branch'])
      await ask.expect([503, 'workspace_draining'], 'POST', `${session}/${how}`);
    await ask.expect([503, 'workspace_draining'], 'POST', `${session}/prompt`, text('x'));
    await ask.expect([503, 'workspace_draining'], 'POST', `${session}/continue`);
    const { json: status } = await ask.expect(200, 'GET', `${session}/status`);
    expect(status.dormant).toBe(true);
    for (const read of ['context', 'tasks', 'pending-prompts', 'events', 'rewind/snapshots']) {
      const { json } = await ask.expect([404, 'session_not_found'], 'GET', `${session}/${read}`);
      expect([read, json.dormant]).toEqual([read, true]);
    }
    await ask.expect([404, 'session_not_found'], 'POST', `${session}/heartbeat`);
    for (const leave of ['cancel', 'detach']) await ask.expect(204, 'POST', `${session}/${leave}`);
    await ask.expect(200, 'POST', `${at}/undrain`);
    await ask.expect(202, 'POST', `${session}/prompt`, text('awake'));
    await ask.expect(200, 'GET', `${session}/context`);
  });

  test('wakes a session for what is asked of it, and closes it asleep', async () => {
    const { sessionId } = await newSession(server.baseUrl);
    const session = `/session/${sessionId}`;
    await ask.expect(200, 'POST', `${at}/drain`, { json: { drainMs: 100 } });
    await ask.expect(200, 'POST', `${at}/undrain`);
    await ask.expect(200, 'POST', `${session}/model`, { json: { modelId: 'm2' } });
    await ask.expect(200, 'POST', `${at}/drain`, { json: { drainMs: 100 } });
    await ask.expect(200, 'POST', `${at}/undrain`);
    await ask.expect(204, 'DELETE', session);
    await ask.expect([404, 'session_not_found'], 'GET', `${session}/status`);
  });

  test('replaces daemons', async () => {
    const { json: one } = await ask.expect(200, 'POST', `${at}/restart`, { json: { drainMs: 100 } });
    expect(one.restarted).toMatchObject([{ ok: true }]);
    const { json } = await ask.expect(200, 'POST', '/admin/restart', { json: { atOnce: 2, drainMs: 100 } });
    expect(json.restarted).toMatchObject([{ ok: true }]);
    const bad = { json: { atOnce: 0.5 } };
    await ask.expect([400, 'invalid_workspace_request'], 'POST', '/admin/restart', bad);
    for (const name of ['restart', 'drain'])
      for (const drainMs of [-1, 2 ** 31])
        await ask.expect([400, 'invalid_workspace_request'], 'POST', `${at}/${name}`, { json: { drainMs } });
    const { json: all } = await ask.expect(200, 'POST', '/admin/restart', {
      json: { atOnce: 2 ** 31 - 1, drainMs: 100 },
    });
    expect(all.restarted).toMatchObject([{ ok: true }]);
  });

  test('copies the database, on its socket only', async () => {
    const backup = (file: unknown) => callAdmin(server, 'POST', '/admin/backup', { file });
    const file = join(server.scratch.dir, 'copy.db');
    const statuses: number[] = [];
    for (const name of [file, file, 'relative', '/nowhere/copy.db']) {
      const answer = await backup(name);
      ask.judge('POST', '/admin/backup', answer);
      statuses.push(answer.status);
    }
    expect(statuses).toEqual([200, 409, 400, 400]);
    const { status } = await call(server.baseUrl, 'POST', '/admin/backup', { json: { file } });
    expect(status).toBe(404);
  });

  test('refuses what is malformed', async () => {
    const none = '/admin/workspaces/none';
    await ask.expect([400, 'workspace_mismatch'], 'GET', `${none}/why`);
    for (const name of ['drain', 'undrain', 'restart'])
      await ask.expect([400, 'workspace_mismatch'], 'POST', `${none}/${name}`);
    await ask.expect([400, 'workspace_mismatch'], 'PATCH', none);
    for (const path of ['/admin/stop', '/admin/restart', `${at}/drain`, `${at}/restart`]) {
      await ask.expect([400, undefined], 'POST', path, invalidJson);
      await ask.expect(413, 'POST', path, tooLong);
    }
  });

  test('stops the coordinator, whose daemons finish their turns first', async () => {
    const { sessionId } = await newSession(server.baseUrl);
    await sendPrompt(server.baseUrl, sessionId, 'hang');
    const { json } = await ask.expect(202, 'POST', '/admin/stop', { json: { leaveDaemons: false } });
    expect(json).toEqual({ stopping: true, leaveDaemons: false });
    expect((await server.ended()).code).toBe(0);
    expect(ask.missing('operators', true)).toEqual([]);
  });
});

test('what the store refuses is 507, for creates, loads and settings', async () => {
  const server = await startCoordinator({ agent: AGENT, workspaces: 1 });
  const ask = new Examiner(server.baseUrl);
  const { sessionId } = await newSession(server.baseUrl);
  await sendPrompt(server.baseUrl, sessionId, 'hello');
  const { sessionId: closed } = await newSession(server.baseUrl);
  await sendPrompt(server.baseUrl, closed, 'hello');
  await ask.expect(204, 'DELETE', `/session/${closed}`);
  const other = openSqlite(join(server.stateDir, 'coordinator.db'));
  closers.push(() => other.close());
  other.exec('BEGIN IMMEDIATE');
  await ask.expect([507, 'storage_unavailable'], 'POST', '/session', { json: { sessionScope: 'thread' } });
  await ask.expect([507, 'storage_unavailable'], 'POST', `/session/${closed}/load`);
  const at = `/admin/workspaces/${workspaceIdOf(server.workspace)}`;
  await ask.expect([507, 'storage_unavailable'], 'PATCH', at, { json: { pinned: true } });
  await ask.expect([507, 'storage_unavailable'], 'POST', `${at}/drain`);
  other.exec('ROLLBACK');
  await eventually('a create that succeeds', async () => {
    const { status } = await call(server.baseUrl, 'POST', '/session', { json: { sessionScope: 'thread' } });
    return status === 200;
  });
});

test('a session that does not wake in time is 504, and 503 while the agent is still at it', async () => {
  const agent = stubAgent('--ext', '--load', '--slow-load', '20000');
  const flags = ['--session-restore-timeout-ms', '300'];
  const server = await startCoordinator({ agent, workspaces: 1, flags });
  const ask = new Examiner(server.baseUrl);
  const { sessionId } = await newSession(server.baseUrl);
  await sendPrompt(server.baseUrl, sessionId, 'hello');
  const at = `/admin/workspaces/${workspaceIdOf(server.workspace)}`;
  await ask.expect(200, 'POST', `${at}/drain`, { json: { drainMs: 500 } });
  await ask.expect(200, 'POST', `${at}/undrain`);
  // The agent is kept for it.
  await newSession(server.baseUrl);
  const prompt = [`/session/${sessionId}/prompt`, text('x')] as const;
  await ask.expect([504, 'restore_timeout'], 'POST', ...prompt);
  await ask.expect([503, 'workspace_runtime_unavailable'], 'POST', ...prompt);
});

test('a coordinator that is stopping refuses new sessions', async () => {
  const server = await startCoordinator({
    agent: AGENT,
    workspaces: 1,
    flags: ['--drain-timeout-ms', '2500'],
  });
  const ask = new Examiner(server.baseUrl);
  const { sessionId } = await newSession(server.baseUrl);
  await sendPrompt(server.baseUrl, sessionId, 'hang');
  await ask.expect(202, 'POST', '/admin/stop');
  await eventually('the beginning of the stop', () => server.stderr.includes('stopping'));
  await ask.expect([503, 'daemon_draining'], 'POST', '/session');
  await server.ended();
});
