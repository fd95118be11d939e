import { mkdtempSync, rmSync } from 'node:fs';
import type { RequestListener } from 'node:http';
import { request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, test } from '@jest/globals';
import Router from '@koa/router';
import { createAdminServer } from '../../../coordinator/http/admin/server.ts';
import { systemClock } from '../../../daemon/contract/clock.ts';
import { Closers, eventually, listening, log, openStream, send, sendRaw } from './fake-daemon.ts';
import { stage } from './listener-kit.ts';

const closers = new Closers();
afterEach(() => closers.run());

/** A daemon that answers with the path that reached it. */
const echo: RequestListener = (req, res) => {
  req.resume();
  res.writeHead(200, { 'Content-Type': 'application/json' }).end(JSON.stringify({ daemonSaw: req.url }));
};

const json = { 'content-type': 'application/json' };

describe('routing', () => {
  test('a live session goes to its own daemon, an unknown one is 404 and wakes nothing', async () => {
    const on = await stage(closers, echo);
    on.index.set('s-1', on.a.id);
    expect((await send(on.port, '/session/s-1/status')).body).toBe('{"daemonSaw":"/session/s-1/status"}');
    const missing = await send(on.port, '/session/nope/prompt', { method: 'POST' });
    expect(missing.status).toBe(404);
    expect(JSON.parse(missing.body)).toMatchObject({ code: 'session_not_found', sessionId: 'nope' });
    expect(on.woken).toEqual([]);
  });

  test('a session whose daemon does not run is 503 with Retry-After', async () => {
    const on = await stage(closers, echo);
    on.index.set('s-2', on.b.id);
    const answer = await send(on.port, '/session/s-2/heartbeat', { method: 'POST' });
    expect(answer.status).toBe(503);
    expect(JSON.parse(answer.body)).toMatchObject({
      code: 'workspace_runtime_unavailable',
      workspaceId: on.b.id,
    });
    expect(on.woken).toEqual([]);
  });

  test('a prefix fences sessions: one of another workspace is not found under it', async () => {
    const on = await stage(closers, echo);
    on.index.set('s-1', on.a.id);
    expect((await send(on.port, `/w/${on.b.id}/session/s-1/status`)).status).toBe(404);
    expect((await send(on.port, `/w/${on.a.id}/session/s-1/status`)).body).toContain('"/session/s-1/status"');
  });

  test('a selector by path or id wakes its workspace, and the path reaches the daemon undecoded', async () => {
    const on = await stage(closers, echo);
    const path = `/workspaces/${encodeURIComponent(on.b.path)}/session/x%2Fy/transcript?cursor=a%2Fb`;
    expect(JSON.parse((await send(on.port, path)).body)).toEqual({ daemonSaw: path });
    expect(on.woken).toEqual([on.b.id]);
    expect((await send(on.port, '/workspaces/ffffffffffffffff/session-info')).status).toBe(400);
    expect((await send(on.port, '/workspaces/%zz/session-info')).body).toBe(
      '{"error":"Malformed URL encoding","code":"invalid_request"}',
    );
  });

  test('a permission vote goes to the daemon that minted the question, or is 404 without a code', async () => {
    const on = await stage(closers, echo);
    const vote = (id: string) => send(on.port, `/permission/${id}`, { method: 'POST' });
    expect((await vote(`${on.a.id}.5f2b`)).status).toBe(200);
    expect((await vote('5f2b')).status).toBe(200);
    const missing = await vote(`${on.b.id}.5f2b`);
    expect(missing.status).toBe(404);
    expect(JSON.parse(missing.body)).toEqual({
      error: expect.any(String),
      requestId: `${on.b.id}.5f2b`,
    });
  });

  test('a listing comes from the daemon while it runs, else from the store without waking it', async () => {
    const on = await stage(closers, echo);
    expect((await send(on.port, `/workspace/${on.a.id}/sessions`)).body).toContain('daemonSaw');
    const stored = await send(on.port, `/workspace/${encodeURIComponent(on.b.path)}/sessions?size=20`);
    expect(stored).toMatchObject({ status: 200, body: '{"sessions":[]}' });
    expect(on.woken).toEqual([]);
    const relative = await send(on.port, '/workspace/some-name/sessions');
    expect(relative.status).toBe(400);
    expect(JSON.parse(relative.body)).not.toHaveProperty('code');
  });

  test.each([
    '/nowhere',
    '/control/feed',
    '/control/identity',
    '//control/feed',
    '/session',
    '/glob',
    '/workspace/tools',
  ])('GET %s is the HTML 404 of an unknown route, reaches no daemon and wakes none', async (path) => {
    const on = await stage(closers, echo);
    for (const url of [path, `/w/${on.a.id}${path}`, `/w/${on.b.id}${path}`]) {
      const answer = await send(on.port, url);
      expect(answer.status).toBe(404);
      expect(answer.headers['content-type']).toBe('text/html; charset=utf-8');
      expect(answer.body).toContain('Cannot GET');
    }
    expect(on.woken).toEqual([]);
  });

  test('a target in absolute form is refused, whatever host it names', async () => {
    const on = await stage(closers, echo);
    const bytes = `GET http://127.0.0.1:${on.port}/health HTTP/1.1\r\nHost: 127.0.0.1:${on.port}\r\nConnection: close\r\n\r\n`;
    expect(await sendRaw(on.port, bytes)).toMatch(/^HTTP\/1\.1 400 /);
  });
});

test('a client that left while its daemon started costs the daemon no request', async () => {
  const seen: unknown[] = [];
  const on = await stage(closers, (req) => void seen.push(req.url));
  const endpoint = on.ready.get(on.a.id);
  if (endpoint === undefined) throw new Error('the primary daemon is ready from the start');
  on.ready.delete(on.a.id);
  const waiting: { signal: AbortSignal; release: () => void }[] = [];
  on.wake = (_workspace, signal) =>
    new Promise((resolve) => waiting.push({ signal, release: () => resolve(endpoint) }));
  const req = request({ port: on.port, host: '127.0.0.1', path: `/w/${on.a.id}/capabilities`, agent: false });
  req.on('error', () => undefined).end();
  await eventually(() => waiting.length === 1);
  req.destroy();
  await eventually(() => waiting[0]?.signal.aborted === true);
  waiting[0]?.release();
  await new Promise((resolve) => setTimeout(resolve, 50));
  expect(seen).toEqual([]);
});

describe('every answer', () => {
  test("carries the client's request id, or one of ours", async () => {
    const on = await stage(closers, echo);
    const given = await send(on.port, '/health', { headers: { 'x-request-id': 'abc-1' } });
    expect(given.headers['x-request-id']).toBe('abc-1');
    for (const path of ['/health', '/nowhere', `/w/${on.a.id}/capabilities`, '/session/x/status']) {
      const answer = await send(on.port, path, { headers: { 'x-request-id': 'bad id\u00ff' } });
      expect(answer.headers['x-request-id']).toMatch(/^[0-9a-f-]{36}$/);
    }
  });

  test('needs the token where one is set: unknown routes and the admin plane too, plain health excepted', async () => {
    const on = await stage(closers, echo, { policy: { token: 'right' } });
    for (const path of [
      '/nowhere',
      '/admin/status',
      '/session/x/status',
      '/capabilities',
      '/workspaces/%zz/x',
    ])
      expect(await send(on.port, path)).toMatchObject({ status: 401, body: '{"error":"Unauthorized"}' });
    expect((await send(on.port, '/health')).status).toBe(200);
    const headers = { authorization: 'bearer  right' };
    expect((await send(on.port, '/admin/status', { headers })).status).toBe(200);
  });
});

describe('the fleet as one server', () => {
  test('health and capabilities are answered without waking anything', async () => {
    const on = await stage(closers, echo);
    expect((await send(on.port, '/health?deep=0')).body).toBe('{"status":"ok"}');
    expect(JSON.parse((await send(on.port, '/health?deep=')).body)).toMatchObject({
      status: 'ok',
      workspaceCount: 2,
      sessions: 0,
    });
    expect(JSON.parse((await send(on.port, '/capabilities')).body)).toMatchObject({
      workspaceCwd: on.a.path,
    });
    expect(on.woken).toEqual([]);
  });

  test('under a prefix capabilities are those of the daemon', async () => {
    const on = await stage(closers, echo);
    const answer = await send(on.port, `/w/${on.b.id}/capabilities`);
    expect(JSON.parse(answer.body)).toEqual({ daemonSaw: '/capabilities' });
    expect(on.woken).toEqual([on.b.id]);
    expect((await send(on.port, `/w/${on.b.id}/health`)).body).toBe('{"status":"ok"}');
  });

  test('the API description is the coordinator’s own, under a prefix too, and wakes nothing', async () => {
    const on = await stage(closers, echo);
    for (const path of ['/openapi.json', `/w/${on.b.id}/openapi.json`])
      expect(JSON.parse((await send(on.port, path)).body)).toEqual({ openapi: '3.1.0' });
    expect(on.woken).toEqual([]);
  });

  test('a workspace is added, listed, and removed again with its daemon', async () => {
    const on = await stage(closers, echo);
    const cwd = join(on.dir, 'new');
    const add = (body: unknown) =>
      send(on.port, '/workspaces', { method: 'POST', headers: json, body: JSON.stringify(body) });
    const added = await add({ cwd, displayName: 'New' });
    expect(added.status).toBe(201);
    expect(JSON.parse(added.body)).toMatchObject({ cwd, displayName: 'New', primary: false });
    for (const [body, code] of [
      [{ cwd: 'rel' }, 'invalid_path'],
      [{ cwd: join(on.dir, 'missing') }, 'invalid_path'],
      [{}, 'invalid_path'],
      [{ cwd, displayName: ' ' }, 'invalid_display_name'],
      [{ cwd, persist: 1 }, 'invalid_persist_flag'],
    ] as const)
      expect(JSON.parse((await add(body)).body)).toMatchObject({ code });
    const removed = await send(on.port, `/workspaces/${encodeURIComponent(cwd)}`, { method: 'DELETE' });
    expect(removed.status).toBe(200);
    expect(JSON.parse(removed.body)).toMatchObject({ removed: true, workspaceCwd: cwd, forced: false });
    expect(on.stopped).toHaveLength(1);
    expect((await send(on.port, '/capabilities')).body).not.toContain(cwd);
  });

  test('a workspace in use is removed only by force, the primary one never', async () => {
    const on = await stage(closers, echo);
    on.index.set('s-2', on.b.id);
    const remove = (id: string, body: object) => {
      const text = JSON.stringify(body);
      // Node's client sends the body of a DELETE without framing unless it is told its length.
      const headers = { ...json, 'content-length': String(text.length) };
      return send(on.port, `/workspaces/${id}`, { method: 'DELETE', headers, body: text });
    };
    const busy = await remove(on.b.id, {});
    expect(busy.status).toBe(409);
    expect(JSON.parse(busy.body)).toMatchObject({ code: 'workspace_busy', activity: { sessions: 1 } });
    expect(JSON.parse((await remove(on.b.id, { force: 1 })).body)).toMatchObject({
      code: 'invalid_force_flag',
    });
    expect(JSON.parse((await remove(on.a.id, { force: true })).body)).toMatchObject({
      code: 'primary_workspace_removal_forbidden',
    });
    expect(on.stopped).toEqual([]);
    expect((await remove(on.b.id, { force: true })).status).toBe(200);
    expect(on.stopped).toEqual([on.b.id]);
  });
});

describe('a forwarded request from nobody in particular counts as remote', () => {
  test('the daemon is told so, and the fleet may not be changed without a token', async () => {
    const peers: unknown[] = [];
    const on = await stage(closers, (req, res) => {
      peers.push(req.headers['x-qwen-coordinator-peer']);
      res.end('{}');
    });
    const headers = { 'x-forwarded-for': '127.0.0.1' };
    await send(on.port, `/w/${on.a.id}/capabilities`, { headers });
    await send(on.port, `/w/${on.a.id}/capabilities`);
    expect(peers).toEqual(['remote', 'loopback']);
    for (const [method, path] of [
      ['POST', '/workspaces'],
      ['DELETE', `/workspaces/${on.b.id}`],
      ['GET', '/admin/diagnostics'],
      ['POST', '/admin/stop'],
    ] as const) {
      const answer = await send(on.port, path, { method, headers });
      expect(answer.status).toBe(401);
      expect(JSON.parse(answer.body)).toMatchObject({ code: 'token_required' });
    }
    expect(on.stops).toEqual([]);
  });
});

describe('the admin plane', () => {
  test('shows diagnostics without secrets and takes a stop', async () => {
    const on = await stage(closers, echo);
    const shown = await send(on.port, '/admin/diagnostics');
    expect(shown.body).not.toContain('hunter2');
    expect(JSON.parse(shown.body)).toMatchObject({
      version: '0.0.1',
      workspaces: [{ id: on.a.id }, { id: on.b.id }],
      warnings: [],
    });
    expect((await send(on.port, '/admin/stop', { method: 'POST' })).status).toBe(202);
    await eventually(() => on.stops.length === 1);
    expect((await send(on.port, '/admin/nothing')).status).toBe(404);
  });

  test('answers on a unix socket of its own', async () => {
    const on = await stage(closers, echo);
    const router = new Router({ prefix: '/admin' });
    router.get('/status', (ctx) => {
      ctx.body = { status: 'ok' };
    });
    const admin = createAdminServer(router, systemClock, log);
    closers.add(() => admin.close(100));
    const socketPath = join(on.dir, 'admin.sock');
    await listening(admin.server, socketPath);
    const body = await new Promise((resolve, reject) => {
      const req = request({ socketPath, path: '/admin/status', agent: false }, (res) => {
        res.on('data', (chunk: Buffer) => resolve(chunk.toString('utf8')));
      });
      req.on('error', reject).end();
    });
    expect(body).toBe('{"status":"ok"}');
  });
});

describe('slow and many clients', () => {
  test('a request head that never ends is cut off at its limit', async () => {
    const on = await stage(closers, echo, { limits: { requestHeadTimeoutMs: 80 } });
    const startedAt = performance.now();
    expect(await sendRaw(on.port, 'GET /health HTTP/1.1\r\nHost: x\r\nX-Slow: ')).toMatch(/^HTTP\/1\.1 408 /);
    expect(performance.now() - startedAt).toBeLessThan(10_000);
  });

  test('connections over the limit are refused and the others go on', async () => {
    const on = await stage(closers, (_req, res) => openStream(res), { limits: { maxConnections: 1 } });
    on.index.set('s-1', on.a.id);
    const first = request({ port: on.port, host: '127.0.0.1', path: '/session/s-1/events', agent: false });
    first.on('error', () => undefined);
    await new Promise((resolve) => first.on('response', resolve).end());
    await expect(send(on.port, '/health')).rejects.toThrow();
    first.destroy();
    await eventually(() => on.daemon.open.size === 0);
    expect((await send(on.port, '/health')).status).toBe(200);
  });

  test('a stop ends open event streams in order and closes the listener', async () => {
    const on = await stage(closers, (_req, res) => {
      openStream(res);
      res.write(': hello\n\n');
    });
    on.index.set('s-1', on.a.id);
    const stream = send(on.port, '/session/s-1/events');
    await eventually(() => on.daemon.open.size === 1);
    await new Promise((resolve) => setTimeout(resolve, 30));
    await on.listener.close(1000);
    expect(await stream).toMatchObject({ isCut: false, body: ': hello\n\n' });
    await expect(send(on.port, '/health')).rejects.toThrow();
  });
});

test('a listener on a unix socket checks neither Host nor Origin', async () => {
  const dir = mkdtempSync(join(tmpdir(), 'qc-unix-'));
  closers.add(() => rmSync(dir, { recursive: true, force: true }));
  const socketPath = join(dir, 'l.sock');
  const on = await stage(closers, echo, { at: socketPath });
  const status = await new Promise((resolve, reject) => {
    const headers = { host: 'evil.example', origin: 'https://evil.example' };
    const req = request({ socketPath, path: '/capabilities', headers, agent: false }, (res) => {
      res.resume();
      resolve(res.statusCode);
    });
    req.on('error', reject).end();
  });
  expect(status).toBe(200);
  expect(on.woken).toEqual([]);
});
