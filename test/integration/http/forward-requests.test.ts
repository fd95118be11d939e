import { randomBytes } from 'node:crypto';
import { renameSync } from 'node:fs';
import type { IncomingMessage } from 'node:http';
import { createServer, request } from 'node:http';
import { connect } from 'node:net';
import { join } from 'node:path';
import { afterEach, describe, expect, test } from '@jest/globals';
import {
  Closers,
  eventually,
  fakeDaemon,
  front,
  listening,
  SECRET,
  send,
  sendRaw,
  unix,
} from './fake-daemon.ts';

const closers = new Closers();
afterEach(() => closers.run());

interface Seen {
  url: string | undefined;
  method: string | undefined;
  headers: IncomingMessage['headers'];
  body: string;
}

/** A daemon that answers every request with `{}` after its body, and what it saw. */
async function recording() {
  const seen: Seen[] = [];
  const daemon = await fakeDaemon(closers, (req, res) => {
    let body = '';
    req.on('data', (chunk) => {
      body += chunk;
    });
    req.on('end', () => {
      seen.push({ url: req.url, method: req.method, headers: req.headers, body });
      res.end('{}');
    });
  });
  return { daemon, seen };
}

describe('paths', () => {
  test.each([
    '/workspaces/%2Fa%2Fb/file?path=c%2Fd',
    '/session/a%2Fb/status',
    '/session/%E2%82%AC/x?',
    '/a/../b/./c',
    '/a/%2e%2e/b',
    '//two//slashes',
    '/q?a=b?c&d=%20+',
    '/q?',
  ])('%s reaches the daemon as it was sent', async (path) => {
    const { daemon, seen } = await recording();
    const { port } = await front(closers, daemon.endpoint);
    await send(port, path);
    expect(seen[0]?.url).toBe(path);
  });
});

describe('headers', () => {
  test("a client's word on trust is dropped and the coordinator's is added", async () => {
    const { daemon, seen } = await recording();
    const { port } = await front(closers, daemon.endpoint);
    await send(port, '/x', {
      headers: {
        authorization: 'Bearer client-token',
        origin: 'https://evil.example',
        forwarded: 'for=1.2.3.4',
        'x-forwarded-for': '1.2.3.4',
        'x-forwarded-proto': 'https',
        'x-qwen-coordinator-peer': 'loopback-forged',
        'x-qwen-coordinator-anything': 'forged',
        'x-request-id': 'forged',
        'x-qwen-client-id': 'client_1',
        'last-event-id': '7',
      },
    });
    const headers = seen[0]?.headers ?? {};
    expect(headers).toMatchObject({
      authorization: `Bearer ${SECRET}`,
      'x-qwen-coordinator-peer': 'loopback',
      'x-request-id': 'rid-1',
      'x-qwen-client-id': 'client_1',
      'last-event-id': '7',
      host: 'qwen-daemon',
    });
    for (const name of [
      'origin',
      'forwarded',
      'x-forwarded-for',
      'x-forwarded-proto',
      'x-qwen-coordinator-anything',
    ])
      expect(headers).not.toHaveProperty(name);
  });

  test('hop-by-hop headers, and those that Connection lists, stay on their hop', async () => {
    const { daemon, seen } = await recording();
    const { port } = await front(closers, daemon.endpoint);
    await send(port, '/x', {
      headers: { connection: 'close, x-mine', 'x-mine': '1', te: 'trailers', 'proxy-authorization': 'y' },
    });
    expect(seen[0]?.headers.connection).toBe('keep-alive');
    for (const name of ['x-mine', 'te', 'proxy-authorization'])
      expect(seen[0]?.headers).not.toHaveProperty(name);
  });

  test("clients that close their connections share the daemon's", async () => {
    const { daemon, seen } = await recording();
    const { port } = await front(closers, daemon.endpoint);
    for (let turn = 0; turn < 5; turn += 1) await send(port, '/x', { headers: { connection: 'close' } });
    expect(seen).toHaveLength(5);
    expect(daemon.connections()).toBe(1);
  });

  test('the answer passes untouched, less what belongs to its hop or to the coordinator', async () => {
    const daemon = await fakeDaemon(closers, (_req, res) => {
      res.writeHead(503, {
        'Retry-After': '5',
        'X-Qwen-Event-Epoch': 'e1',
        'Set-Cookie': ['a=1', 'b=2'],
        'Content-Type': 'application/json',
        'x-qwen-feed-seq': '9',
        'x-qwen-coordinator-note': 'z',
        Connection: 'close, x-hop',
        'x-hop': '1',
      });
      res.end('{"error":"Internal error","code":-32603}');
    });
    const { port } = await front(closers, daemon.endpoint);
    const answer = await send(port, '/x');
    expect(answer).toMatchObject({ status: 503, body: '{"error":"Internal error","code":-32603}' });
    expect(answer.headers).toMatchObject({
      'retry-after': '5',
      'x-qwen-event-epoch': 'e1',
      'set-cookie': ['a=1', 'b=2'],
    });
    for (const name of ['x-qwen-feed-seq', 'x-qwen-coordinator-note', 'x-hop'])
      expect(answer.headers).not.toHaveProperty(name);
  });

  test('an empty 204 stays one', async () => {
    const daemon = await fakeDaemon(closers, (_req, res) => res.writeHead(204).end());
    const { port } = await front(closers, daemon.endpoint);
    expect(await send(port, '/x', { method: 'DELETE' })).toMatchObject({ status: 204, body: '' });
  });
});

describe('bodies', () => {
  test('a large body under the cap arrives byte for byte', async () => {
    const { daemon, seen } = await recording();
    const { port } = await front(closers, daemon.endpoint);
    const body = randomBytes(300_000).toString('hex');
    await send(port, '/x', { method: 'POST', body });
    expect(seen[0]?.body).toBe(body);
  });

  test('a declared length over the cap is refused at once, without troubling the daemon', async () => {
    const { daemon, seen } = await recording();
    const { port } = await front(closers, daemon.endpoint, { bodyCapBytes: 1000 });
    const answer = await send(port, '/x', {
      method: 'POST',
      body: 'x'.repeat(1001),
      headers: { 'content-length': '1001' },
    });
    expect(answer).toMatchObject({
      status: 413,
      body: '{"error":"Request body too large (max 1000 bytes)"}',
    });
    expect(seen).toHaveLength(0);
  });

  test('a chunked body that passes the cap is refused and its upstream request destroyed', async () => {
    const daemon = await fakeDaemon(closers, (req) => req.resume());
    const { port } = await front(closers, daemon.endpoint, { bodyCapBytes: 100_000 });
    const answer = await send(port, '/x', {
      method: 'POST',
      headers: { 'transfer-encoding': 'chunked' },
      body: 'x'.repeat(150_000),
    });
    expect(answer.status).toBe(413);
    await eventually(() => daemon.open.size === 0);
  });

  test('a client that ignores the refusal is cut off', async () => {
    const daemon = await fakeDaemon(closers, (req) => req.resume());
    const { port } = await front(closers, daemon.endpoint, { bodyCapBytes: 50_000 });
    const sentBytes = await new Promise<number>((resolve) => {
      let sent = 0;
      const socket = connect(port, '127.0.0.1');
      const push = () => {
        if (socket.destroyed || sent > 1_000_000) return;
        sent += 10_000;
        socket.write(`2710\r\n${'x'.repeat(10_000)}\r\n`, () => setTimeout(push, 2));
      };
      socket.write('POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n', push);
      socket.resume();
      socket.on('error', () => undefined);
      socket.on('close', () => resolve(sent));
    });
    expect(sentBytes).toBeLessThan(1_000_000);
  });

  test('Expect: 100-continue gets its go-ahead and the body arrives', async () => {
    const { daemon, seen } = await recording();
    const { port } = await front(closers, daemon.endpoint);
    const isContinued = await new Promise<boolean>((resolve, reject) => {
      let went = false;
      const headers = { expect: '100-continue', 'content-length': '4' };
      const req = request({ port, host: '127.0.0.1', path: '/x', method: 'POST', headers, agent: false });
      req.on('continue', () => {
        went = true;
        req.end('body');
      });
      req.on('response', (res) => res.resume().on('end', () => resolve(went)));
      req.on('error', reject);
      req.flushHeaders();
    });
    expect(isContinued).toBe(true);
    expect(seen[0]).toMatchObject({ body: 'body' });
    expect(seen[0]?.headers).not.toHaveProperty('expect');
  });

  test('a refused Expect: 100-continue is answered without a go-ahead', async () => {
    const { daemon } = await recording();
    const { port } = await front(closers, daemon.endpoint, { bodyCapBytes: 10 });
    const head = 'POST /x HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 99\r\n\r\n';
    expect(await sendRaw(port, head, /\}$/)).toMatch(/^HTTP\/1\.1 413 /);
  });
});

describe('request smuggling', () => {
  const inner = 'GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n';

  test.each(['DELETE', 'GET', 'OPTIONS', 'POST'])(
    'the chunked body of a %s stays a body on the way to the daemon',
    async (method) => {
      const { daemon, seen } = await recording();
      const { port } = await front(closers, daemon.endpoint);
      const body = `${inner.length.toString(16)}\r\n${inner}\r\n0\r\n\r\n`;
      const head = `${method} /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n`;
      await sendRaw(port, head + body);
      await send(port, '/next');
      expect(seen.map(({ url, body: text }) => [url, text])).toEqual([
        ['/x', inner],
        ['/next', ''],
      ]);
    },
  );

  test('a client cannot strip the length of its body by listing it in Connection', async () => {
    const { daemon, seen } = await recording();
    const { port } = await front(closers, daemon.endpoint);
    const head = `DELETE /x HTTP/1.1\r\nHost: a\r\nConnection: close, content-length\r\nContent-Length: ${inner.length}\r\n\r\n`;
    await sendRaw(port, head + inner);
    await send(port, '/next');
    expect(seen.map(({ url }) => url)).toEqual(['/x', '/next']);
  });

  test('a transfer coding other than chunked is refused', async () => {
    const { daemon, seen } = await recording();
    const { port } = await front(closers, daemon.endpoint);
    const bytes =
      'POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\nConnection: close\r\n\r\n0\r\n\r\n';
    expect(await sendRaw(port, bytes)).toMatch(/^HTTP\/1\.1 400 /);
    expect(seen).toHaveLength(0);
  });
});

describe('a daemon that cannot answer', () => {
  const unavailable = { status: 503, headers: { 'retry-after': '1' } };

  test('whose socket is missing is 503 workspace_runtime_unavailable with Retry-After', async () => {
    const { daemon } = await recording();
    const { port } = await front(closers, { ...daemon.endpoint, address: unix(`${daemon.socketPath}.gone`) });
    const answer = await send(port, '/x');
    expect(answer).toMatchObject(unavailable);
    expect(JSON.parse(answer.body)).toMatchObject({ code: 'workspace_runtime_unavailable' });
  });

  test('that refuses the connection is 503', async () => {
    const { daemon } = await recording();
    // The socket file of a process that was killed stays behind.
    const path = join(daemon.socketPath, '..', 'dead.sock');
    const dead = createServer();
    await listening(dead, path);
    renameSync(path, `${path}.kept`);
    await new Promise((resolve) => dead.close(resolve));
    const { port } = await front(closers, { ...daemon.endpoint, address: unix(`${path}.kept`) });
    expect(await send(port, '/x')).toMatchObject(unavailable);
  });

  test('that resets before its answer is 503, also after a body', async () => {
    const daemon = await fakeDaemon(closers, (req) => req.socket.destroy());
    const { port } = await front(closers, daemon.endpoint);
    expect(await send(port, '/x')).toMatchObject(unavailable);
    expect(await send(port, '/x', { method: 'POST', body: 'b'.repeat(200_000) })).toMatchObject(unavailable);
  });

  test('is answered for, and the connection goes on, although the body was not read', async () => {
    const { daemon } = await recording();
    const { port } = await front(closers, { ...daemon.endpoint, address: unix(`${daemon.socketPath}.gone`) });
    const head = 'POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 900000\r\n\r\n';
    const next = 'GET /y HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n';
    const answers = await sendRaw(port, head + 'x'.repeat(900_000) + next);
    expect(answers.match(/HTTP\/1\.1 503 /g)).toHaveLength(2);
  });

  test.each([0, 5])(
    'that is cut %i bytes into a JSON answer destroys it, never ends it cleanly',
    async (bytes) => {
      const daemon = await fakeDaemon(closers, (_req, res) => {
        res.writeHead(200, { 'Content-Type': 'application/json' });
        res.flushHeaders();
        res.write('{"sessions":['.slice(0, bytes) || ' ', () => setTimeout(daemon.kill, 20));
      });
      const { port } = await front(closers, daemon.endpoint);
      await expect(
        send(port, '/x').then(
          (answer) => (answer.isCut ? 'cut' : 'whole'),
          () => 'cut',
        ),
      ).resolves.toBe('cut');
    },
  );
});
