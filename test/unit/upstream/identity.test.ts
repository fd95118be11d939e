import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type RequestListener, type Server } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { askIdentity } from '../../../coordinator/upstream/identity.ts';

describe('the question who listens', () => {
  let dir: string;
  let socket: string;
  let server: Server | undefined;
  beforeEach(() => {
    dir = mkdtempSync(join(tmpdir(), 'qc-identity-'));
    socket = join(dir, 's.sock');
  });
  afterEach(() => {
    server?.closeAllConnections();
    server?.close();
    server = undefined;
    rmSync(dir, { recursive: true, force: true });
  });

  const ask = (secret: string, timeoutMs = 1000) =>
    askIdentity({ address: { kind: 'unix', path: socket }, secret }, timeoutMs);

  async function serve(listener: RequestListener): Promise<void> {
    server = createServer(listener);
    server.listen(socket);
    await once(server, 'listening');
  }

  test('carries the secret and gives the answer', async () => {
    const identity = { contract: 1, incarnation: 'i-1', pid: 7, startTime: 8, version: 'v', ending: false };
    await serve((req, res) => {
      const isRight = req.url === '/control/identity' && req.headers.authorization === 'Bearer s3cret';
      res.writeHead(isRight ? 200 : 401).end(JSON.stringify(identity));
    });
    expect(await ask('s3cret')).toEqual(identity);
    await expect(ask('wrong')).rejects.toThrow('status 401');
  });

  test('ends with words when nobody listens, nobody answers, or the answer is nonsense', async () => {
    await expect(ask('s')).rejects.toThrow('ENOENT');
    const answers: RequestListener[] = [
      () => undefined,
      (_req, res) => void res.writeHead(200).write('{"incarnation":'),
      (_req, res) => void res.end('{"hello":1}'),
      (_req, res) => void res.end('no json'),
      (_req, res) => void res.end('x'.repeat(100_000)),
    ];
    await serve((req, res) => answers.shift()?.(req, res));
    // The first two answers never end.
    const next = () => ask('s', answers.length > 3 ? 100 : 5000);
    await expect(next()).rejects.toThrow('no answer within 100 ms');
    await expect(next()).rejects.toThrow('no answer within 100 ms');
    await expect(next()).rejects.toThrow('its answer is not an identity');
    await expect(next()).rejects.toThrow(/JSON/);
    await expect(next()).rejects.toThrow('too long for an identity');
  });
});
