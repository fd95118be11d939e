import type { RequestListener, ServerResponse } from 'node:http';
import { request } from 'node:http';
import { join } from 'node:path';
import { afterEach, describe, expect, test } from '@jest/globals';
import { FEED_SEQ_HEADER } from '../../../daemon/contract/control.ts';
import { fail } from '../../../daemon/contract/errors.ts';
import { Closers, eventually, SECRET, send, sendRaw } from './fake-daemon.ts';
import { type Stage, stage } from './listener-kit.ts';

const closers = new Closers();
afterEach(() => closers.run());

interface Call {
  readonly line: string;
  readonly headers: Record<string, unknown>;
  readonly body: Record<string, unknown>;
}

const CREATED = {
  sessionId: 's-1',
  workspaceCwd: '/ws',
  attached: false,
  clientId: 'client_1',
  createdAt: '2026-01-02T03:04:05.000Z',
};

/** A daemon that notes its calls and answers POST /session with `answer`, everything else with 204. */
function daemon(
  calls: Call[],
  answer: (res: ServerResponse) => void = (res) =>
    void res.writeHead(200, { [FEED_SEQ_HEADER]: '7' }).end(JSON.stringify(CREATED)),
): RequestListener {
  return (req, res) => {
    let text = '';
    req.on('data', (chunk) => {
      text += chunk;
    });
    req.on('end', () => {
      calls.push({
        line: `${req.method} ${req.url}`,
        headers: req.headers,
        body: text === '' ? {} : JSON.parse(text),
      });
      if (req.url === '/session') answer(res);
      else res.writeHead(204).end();
    });
  };
}

function create({ port }: Stage, body: unknown, headers: Record<string, string> = {}, path = '/session') {
  return send(port, path, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...headers },
    body: JSON.stringify(body),
  });
}

describe('which workspace a session is created in', () => {
  test('the one whose root cwd is, in its canonical spelling, with the other fields kept', async () => {
    const calls: Call[] = [];
    const on = await stage(closers, daemon(calls));
    const answer = await create(
      on,
      { cwd: join(on.b.path, '..', 'b', '.'), sessionScope: 'thread', extra: [1] },
      { 'x-qwen-client-id': 'mine' },
    );
    expect(answer.status).toBe(200);
    expect(JSON.parse(answer.body)).toEqual(CREATED);
    expect(answer.headers).not.toHaveProperty(FEED_SEQ_HEADER);
    expect(on.woken).toEqual([on.b.id]);
    expect(calls[0]?.body).toEqual({ cwd: on.b.path, sessionScope: 'thread', extra: [1] });
    expect(calls[0]?.headers).toMatchObject({
      authorization: `Bearer ${SECRET}`,
      'x-qwen-client-id': 'mine',
      'x-qwen-coordinator-peer': 'loopback',
    });
  });

  test.each<[string, Record<string, string>, string, 'a' | 'b']>([
    ['the primary one', {}, '/session', 'a'],
    ['the one of the header', { 'x-qwen-workspace': 'b' }, '/session', 'b'],
    ['the one of the prefix', {}, '/w/b/session', 'b'],
  ])('%s when cwd is absent', async (_which, headers, path, expected) => {
    const on = await stage(closers, daemon([]));
    const filled = Object.fromEntries(Object.keys(headers).map((name) => [name, on.b.id]));
    await create(on, {}, filled, path.replace('/b/', `/${encodeURIComponent(on.b.path)}/`));
    expect(on.woken).toEqual([on[expected].id]);
  });

  test('a body that is no JSON creates the default session', async () => {
    const calls: Call[] = [];
    const on = await stage(closers, daemon(calls));
    await send(on.port, '/session', {
      method: 'POST',
      headers: { 'content-type': 'text/plain' },
      body: 'hi',
    });
    expect(calls[0]?.body).toEqual({ cwd: on.a.path });
  });
});

test("Expect: 100-continue gets its go-ahead on the coordinator's own routes", async () => {
  const on = await stage(closers, daemon([]));
  const headers = `Host: 127.0.0.1:${on.port}\r\nContent-Type: application/json\r\nContent-Length: 2\r\n`;
  const head = `POST /session HTTP/1.1\r\n${headers}Expect: 100-continue\r\n\r\n`;
  expect(await sendRaw(on.port, head, /\r\n\r\n$/)).toBe('HTTP/1.1 100 Continue\r\n\r\n');
});

describe('a cwd that is refused wakes nothing', () => {
  test.each([
    ['relative', 'a/b'],
    ['no string', 7],
    ['too long', `/${'x'.repeat(4096)}`],
  ])('%s: 400 without a code', async (_name, cwd) => {
    const on = await stage(closers, daemon([]));
    const answer = await create(on, { cwd });
    expect(answer.status).toBe(400);
    expect(JSON.parse(answer.body)).not.toHaveProperty('code');
    expect(on.woken).toEqual([]);
  });

  test.each(['a/sub', 'nowhere'])('%s, no root of a workspace: 400 workspace_mismatch', async (name) => {
    const on = await stage(closers, daemon([]));
    const cwd = join(on.dir, name);
    const answer = await create(on, { cwd });
    expect(answer.status).toBe(400);
    expect(JSON.parse(answer.body)).toMatchObject({
      code: 'workspace_mismatch',
      boundWorkspace: on.a.path,
      requestedWorkspace: cwd,
      workspaceCount: 2,
    });
    expect(on.woken).toEqual([]);
  });

  test('another workspace than that of the prefix: 400 workspace_mismatch', async () => {
    const on = await stage(closers, daemon([]));
    const answer = await create(on, { cwd: on.a.path }, {}, `/w/${on.b.id}/session`);
    expect(answer.status).toBe(400);
    expect(on.woken).toEqual([]);
  });

  test('malformed JSON is 400, a body over the cap 413 even when its length is not declared', async () => {
    const on = await stage(closers, daemon([]), { limits: { maxBodyBytes: 2000 } });
    const post = (body: string, headers: Record<string, string> = {}) =>
      send(on.port, '/session', {
        method: 'POST',
        headers: { 'content-type': 'application/json', ...headers },
        body,
      });
    expect(await post('{')).toMatchObject({ status: 400, body: '{"error":"Invalid JSON in request body"}' });
    const large = JSON.stringify({ x: 'y'.repeat(300_000) });
    expect(await post(large)).toMatchObject({ status: 413 });
    expect(await post(large, { 'transfer-encoding': 'chunked' })).toMatchObject({ status: 413 });
  });
});

describe('nothing acknowledged is lost', () => {
  test("the answer's head waits until the feed's record is stored", async () => {
    const on = await stage(closers, daemon([]));
    const asked: unknown[] = [];
    let release: (isStored: boolean) => void = () => undefined;
    on.stored = (incarnation, seq) => {
      asked.push([incarnation, seq]);
      return new Promise((resolve) => {
        release = resolve;
      });
    };
    let isAnswered = false;
    const answer = create(on, {}).then((got) => {
      isAnswered = true;
      return got;
    });
    await eventually(() => asked.length === 1);
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(isAnswered).toBe(false);
    release(true);
    expect((await answer).status).toBe(200);
    expect(asked).toEqual([[`${on.a.id}-1`, 7]]);
    expect(on.shown).toEqual([]);
  });

  test('where the feed is down, what the answer shows is recorded before the client hears', async () => {
    const on = await stage(closers, daemon([]));
    on.stored = () => Promise.resolve(false);
    expect((await create(on, {})).status).toBe(200);
    expect(on.shown).toEqual([
      {
        workspaceId: on.a.id,
        incarnation: `${on.a.id}-1`,
        isAttached: false,
        session: expect.objectContaining({
          sessionId: 's-1',
          createdAtMs: Date.parse(CREATED.createdAt),
          clients: [expect.objectContaining({ clientId: 'client_1', count: 1 })],
        }),
      },
    ]);
  });

  test('a session that the store refuses is closed again and answered 507', async () => {
    const calls: Call[] = [];
    const on = await stage(closers, daemon(calls));
    on.stored = () => Promise.reject(fail('storage_unavailable', 'disk full'));
    const answer = await create(on, {});
    expect(answer.status).toBe(507);
    expect(JSON.parse(answer.body)).toEqual({ error: 'disk full', code: 'storage_unavailable' });
    expect(calls.map(({ line }) => line)).toEqual(['POST /session', 'DELETE /session/s-1']);
  });

  test('an attach that the store refuses is detached, and the session of the others stays', async () => {
    const calls: Call[] = [];
    const attached = (res: ServerResponse) =>
      res.writeHead(200, { [FEED_SEQ_HEADER]: '7' }).end(JSON.stringify({ ...CREATED, attached: true }));
    const on = await stage(closers, daemon(calls, attached));
    on.stored = () => Promise.resolve(false);
    on.record = () => {
      throw new Error('disk I/O error');
    };
    expect((await create(on, {})).status).toBe(507);
    expect(calls.map(({ line }) => line)).toEqual(['POST /session', 'POST /session/s-1/detach']);
    expect(calls[1]?.headers).toMatchObject({ 'x-qwen-client-id': 'client_1' });
  });

  test("a daemon's refusal passes with its status, body and Retry-After, and nothing is recorded", async () => {
    const body = '{"error":"full","code":"session_limit_exceeded","limit":1,"scope":"workspace"}';
    const on = await stage(
      closers,
      daemon([], (res) => void res.writeHead(503, { 'Retry-After': '5' }).end(body)),
    );
    const answer = await create(on, {});
    expect(answer).toMatchObject({ status: 503, body });
    expect(answer.headers['retry-after']).toBe('5');
    expect(on.shown).toEqual([]);
  });

  test("a daemon's own workspace_mismatch is reworded for the fleet", async () => {
    const body = '{"error":"m","code":"workspace_mismatch","boundWorkspace":"/x","requestedWorkspace":"/y"}';
    const on = await stage(
      closers,
      daemon([], (res) => void res.writeHead(400).end(body)),
    );
    expect(JSON.parse((await create(on, { cwd: on.b.path })).body)).toMatchObject({
      code: 'workspace_mismatch',
      boundWorkspace: on.a.path,
      workspaceCount: 2,
    });
  });

  test('a daemon that dies while it creates is 503 workspace_runtime_unavailable', async () => {
    const on = await stage(
      closers,
      daemon([], (res) => void res.socket?.destroy()),
    );
    const answer = await create(on, {});
    expect(answer.status).toBe(503);
    expect(answer.headers['retry-after']).toBe('1');
    expect(JSON.parse(answer.body)).toMatchObject({ code: 'workspace_runtime_unavailable' });
  });
});

describe('a client that vanishes', () => {
  function vanishing(on: Stage) {
    const req = request({
      port: on.port,
      host: '127.0.0.1',
      path: '/session',
      method: 'POST',
      agent: false,
      headers: { 'content-type': 'application/json' },
    });
    req.on('error', () => undefined);
    req.end('{}');
    return req;
  }

  test('while the daemon starts gives its place up', async () => {
    const on = await stage(closers, daemon([]));
    const signals: AbortSignal[] = [];
    on.wake = (_workspace, signal) => {
      signals.push(signal);
      return new Promise((_resolve, reject) => {
        signal.addEventListener('abort', () => reject(signal.reason as Error));
      });
    };
    const req = vanishing(on);
    await eventually(() => signals.length === 1);
    req.destroy();
    await eventually(() => signals[0]?.aborted === true);
  });

  test('while the daemon creates aborts the call, so that the daemon reaps the orphan', async () => {
    const calls: Call[] = [];
    const on = await stage(
      closers,
      daemon(calls, () => undefined),
    );
    const req = vanishing(on);
    await eventually(() => calls.length === 1 && on.daemon.open.size === 1);
    req.destroy();
    await eventually(() => on.daemon.open.size === 0);
  });

  test('while its session is being stored is detached from it', async () => {
    const calls: Call[] = [];
    const on = await stage(closers, daemon(calls));
    let release: (isStored: boolean) => void = () => undefined;
    let isAsked = false;
    on.stored = () => {
      isAsked = true;
      return new Promise((resolve) => {
        release = resolve;
      });
    };
    const req = vanishing(on);
    await eventually(() => isAsked);
    req.destroy();
    await new Promise((resolve) => setTimeout(resolve, 50));
    release(true);
    await eventually(() => calls.length === 2);
    expect(calls[1]?.line).toBe('POST /session/s-1/detach');
  });
});
