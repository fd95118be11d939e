// Every way of talking to a daemon, over every kind of address.
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer, type RequestListener, type Server } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import type { DaemonAddress } from '../../../coordinator/upstream/address.ts';
import { createDaemonClient } from '../../../coordinator/upstream/daemon-client.ts';
import { DaemonConnections } from '../../../coordinator/upstream/daemon-connections.ts';
import type { Endpoint } from '../../../coordinator/upstream/endpoint.ts';
import { requestFeed } from '../../../coordinator/upstream/feed-request.ts';
import { askIdentity, Unanswered } from '../../../coordinator/upstream/identity.ts';
import { Closers, front, listening, send } from '../http/fake-daemon.ts';

const IDENTITY = { contract: 1, incarnation: 'w-1', pid: 7, startTime: 8, version: 'v', ending: false };
const closers = new Closers();
afterEach(() => closers.run());

let dir: string;
beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), 'qc-addresses-'));
});
afterAll(() => rmSync(dir, { recursive: true, force: true }));

const openssl = (...args: readonly string[]) => execFileSync('openssl', args, { cwd: dir, stdio: 'ignore' });
const pem = (name: string) => readFileSync(join(dir, name), 'utf8');

/** An authority, and a daemon's and a coordinator's certificate of it. */
function certificates() {
  const subject = (name: string) => ['-nodes', '-newkey', 'rsa:2048', '-subj', `/CN=${name}`];
  openssl('req', '-x509', ...subject('authority'), '-keyout', 'ca.key', '-out', 'ca.crt');
  for (const name of ['qwen-daemon', 'coordinator']) {
    openssl('req', ...subject(name), '-keyout', `${name}.key`, '-out', `${name}.csr`);
    const signed = [
      'x509',
      '-req',
      '-in',
      `${name}.csr`,
      '-CA',
      'ca.crt',
      '-CAkey',
      'ca.key',
      '-CAcreateserial',
    ];
    openssl(...signed, '-out', `${name}.crt`);
  }
  return { ca: pem('ca.crt'), own: { cert: pem('coordinator.crt'), key: pem('coordinator.key') } };
}

const serve: RequestListener = (req, res) => {
  if (req.headers.authorization !== 'Bearer secret') res.writeHead(401).end();
  else if (req.url === '/control/identity') res.end(JSON.stringify(IDENTITY));
  else res.end(JSON.stringify({ url: req.url, host: req.headers.host }));
};

async function listen(server: Server, at: string | number): Promise<number> {
  closers.add(() => {
    server.close();
    server.closeAllConnections();
  });
  await listening(server, at);
  return (server.address() as AddressInfo).port;
}

const KINDS: Readonly<Record<string, () => Promise<DaemonAddress>>> = {
  async 'a unix socket'() {
    const path = join(dir, 'd.sock');
    await listen(createServer(serve), path);
    return { kind: 'unix', path };
  },
  async 'a host and port'() {
    return { kind: 'tcp', host: '127.0.0.1', port: await listen(createServer(serve), 0) };
  },
  async 'a host and port with TLS, each side proven to the other'() {
    const tls = certificates();
    const options = {
      ca: tls.ca,
      cert: pem('qwen-daemon.crt'),
      key: pem('qwen-daemon.key'),
      requestCert: true,
    };
    const port = await listen(createTlsServer(options, serve), 0);
    return { kind: 'tcp', host: '127.0.0.1', port, tls };
  },
};

const endpointAt = (address: DaemonAddress): Endpoint => ({
  workspaceId: 'w',
  incarnation: 'w-1',
  address,
  secret: 'secret',
});

describe.each(Object.entries(KINDS))('a daemon on %s', (_, listens) => {
  test('says who it is, gives its feed, and answers a call and a client', async () => {
    const endpoint = endpointAt(await listens());
    expect(await askIdentity(endpoint, 2000)).toEqual(IDENTITY);
    const status = await new Promise((resolve, reject) => {
      requestFeed(endpoint)
        .on('response', (answer) => {
          answer.resume();
          resolve(answer.statusCode);
        })
        .on('error', reject)
        .end();
    });
    expect(status).toBe(200);
    const agents = new DaemonConnections(5000);
    closers.add(() => agents.close());
    const headers = { authorization: 'Bearer secret', host: 'qwen-daemon' };
    const signal = AbortSignal.timeout(2000);
    const client = createDaemonClient(agents, 1024);
    const answer = await client.call(endpoint, { method: 'GET', path: '/call', headers, signal });
    expect(JSON.parse(answer.body.toString())).toEqual({ url: '/call', host: 'qwen-daemon' });
    const { port } = await front(closers, endpoint);
    const forwarded = await send(port, '/forwarded?x=%2F');
    expect(JSON.parse(forwarded.body)).toEqual({ url: '/forwarded?x=%2F', host: 'qwen-daemon' });
  });
});

test('a daemon that another authority signed is not talked to', async () => {
  const address = await KINDS['a host and port with TLS, each side proven to the other']?.();
  if (address?.kind !== 'tcp' || address.tls === undefined) throw new Error('no TLS');
  const other = certificates();
  const misled = endpointAt({ ...address, tls: { ca: other.ca } });
  await expect(askIdentity(misled, 2000)).rejects.toThrow(Unanswered);
});
