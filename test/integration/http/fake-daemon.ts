// A daemon's outside for tests of the listener: an HTTP server on a unix socket, and what a client is given of it.
import { mkdtempSync, rmSync } from 'node:fs';
import {
  createServer,
  type IncomingMessage,
  type RequestListener,
  request,
  type ServerResponse,
} from 'node:http';
import { type AddressInfo, connect, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { EventStreams } from '../../../coordinator/http/event-streams.ts';
import { createForwarder, type ForwardDeps, type Forwarder } from '../../../coordinator/http/forward.ts';
import { createDaemonClient } from '../../../coordinator/upstream/daemon-client.ts';
import { DaemonConnections } from '../../../coordinator/upstream/daemon-connections.ts';
import type { Endpoint } from '../../../coordinator/upstream/endpoint.ts';
import { systemClock } from '../../../daemon/contract/clock.ts';
import { createLog } from '../../../daemon/contract/log.ts';

export const log = createLog('test', 'silent');
export const WORKSPACE_ID = '0123456789abcdef';
export const SECRET = 'daemon-secret';

/** Closers of one test, run in reverse order. */
export class Closers {
  readonly #closers: (() => unknown)[] = [];
  add(close: () => unknown): void {
    this.#closers.push(close);
  }
  async run(): Promise<void> {
    for (const close of this.#closers.splice(0).reverse()) await close();
  }
}

export interface FakeDaemon {
  readonly endpoint: Endpoint;
  readonly socketPath: string;
  /** Requests whose connection has not closed and whose answer is not finished. */
  readonly open: Set<ServerResponse>;
  /** Connections ever made. */
  connections(): number;
  /** Cuts every connection, as a killed process would. */
  kill(): void;
}

export async function fakeDaemon(closers: Closers, listener: RequestListener): Promise<FakeDaemon> {
  const dir = mkdtempSync(join(tmpdir(), 'qc-http-'));
  closers.add(() => rmSync(dir, { recursive: true, force: true }));
  const socketPath = join(dir, 'd.sock');
  const open = new Set<ServerResponse>();
  const sockets = new Set<Socket>();
  let connections = 0;
  const server = createServer((req, res) => {
    open.add(res);
    res.once('close', () => open.delete(res));
    res.on('error', () => undefined);
    listener(req, res);
  });
  server.on('connection', (socket) => {
    connections += 1;
    sockets.add(socket);
    socket.once('close', () => sockets.delete(socket));
  });
  const kill = () => {
    server.close();
    for (const socket of sockets) socket.destroy();
  };
  closers.add(kill);
  await listening(server, socketPath);
  const endpoint = {
    workspaceId: WORKSPACE_ID,
    incarnation: `${WORKSPACE_ID}-1`,
    address: unix(socketPath),
    secret: SECRET,
  };
  return { endpoint, socketPath, open, connections: () => connections, kill };
}

export const unix = (path: string) => ({ kind: 'unix', path }) as const;

export function listening(server: Server, at: string | number): Promise<number> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    const done = () => resolve((server.address() as AddressInfo | null)?.port ?? 0);
    if (typeof at === 'string') server.listen(at, done);
    else server.listen(at, '127.0.0.1', done);
  });
}

export interface Front {
  readonly port: number;
  readonly streams: EventStreams;
}

type Choice = Partial<Pick<Parameters<Forwarder['forward']>[2], 'relay' | 'bodyCapBytes' | 'path'>>;

/** A bare listener that forwards everything to one endpoint. */
export async function front(
  closers: Closers,
  endpoint: Endpoint,
  choice: Choice = {},
  overrides: Partial<ForwardDeps> = {},
): Promise<Front> {
  const connections = new DaemonConnections(5000);
  closers.add(() => connections.close());
  const streams = new EventStreams(log);
  const forwarder = createForwarder({
    connections,
    streams,
    client: createDaemonClient(connections, 64 * 1024),
    clock: systemClock,
    log,
    maxFrameBytes: 16 * 1024 * 1024,
    stored: async () => true,
    streamEnd: () => ({ retryAfterMs: 1000, isResumable: false }),
    ...overrides,
  });
  const handle = (req: IncomingMessage, res: ServerResponse) => {
    try {
      forwarder.forward(req, res, {
        endpoint,
        path: req.url ?? '/',
        relay: 'plain',
        peer: 'loopback',
        requestId: 'rid-1',
        bodyCapBytes: 1024 * 1024,
        ...choice,
      });
    } catch (error) {
      res.writeHead((error as { status: number }).status, { 'content-type': 'application/json' });
      res.end(JSON.stringify({ error: (error as Error).message }));
    }
  };
  const server = createServer(handle);
  server.on('checkContinue', handle);
  closers.add(() => {
    server.close();
    server.closeAllConnections();
  });
  return { port: await listening(server, 0), streams };
}

export interface Answer {
  readonly status: number;
  readonly headers: IncomingMessage['headers'];
  readonly body: string;
  /** The connection was cut before the answer was whole. */
  readonly isCut: boolean;
}

export interface Sending {
  readonly method?: string;
  readonly headers?: Record<string, string>;
  readonly body?: string | Buffer;
}

/** One request with a connection of its own; resolves when the answer ended or was cut. */
export function send(port: number, path: string, sending: Sending = {}): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const req = request({
      port,
      host: '127.0.0.1',
      path,
      agent: false,
      method: sending.method ?? 'GET',
      headers: sending.headers ?? {},
    });
    req.on('error', reject);
    req.on('response', (res) => {
      const chunks: Buffer[] = [];
      res.on('data', (chunk: Buffer) => chunks.push(chunk));
      res.on('error', () => undefined);
      res.on('close', () =>
        resolve({
          status: res.statusCode ?? 0,
          headers: res.headers,
          body: Buffer.concat(chunks).toString('utf8'),
          isCut: !res.complete,
        }),
      );
    });
    req.end(sending.body);
  });
}

/** Raw bytes to the listener; resolves with what came back when the other side ended, or `until` matches. */
export function sendRaw(port: number, bytes: string, until?: RegExp): Promise<string> {
  return new Promise((resolve, reject) => {
    let seen = '';
    const socket = connect(port, '127.0.0.1', () => socket.write(bytes));
    const done = () => {
      socket.destroy();
      resolve(seen);
    };
    socket.on('data', (chunk) => {
      seen += chunk.toString('utf8');
      if (until?.test(seen)) done();
    });
    socket.on('end', done);
    socket.on('error', reject);
  });
}

/** Polls until `holds`, in real time with a short period. @throws after `limitMs`. */
export async function eventually(holds: () => boolean, limitMs = 20_000): Promise<void> {
  const deadline = performance.now() + limitMs;
  while (!holds()) {
    if (performance.now() > deadline) throw new Error(`not reached within ${limitMs} ms: ${holds}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

/** Streams an event stream's head; the caller writes frames. */
export function openStream(res: ServerResponse): void {
  res.writeHead(200, { 'Content-Type': 'text/event-stream', 'Cache-Control': 'no-cache, no-transform' });
  res.flushHeaders();
}
