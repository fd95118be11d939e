import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type RequestListener, type Server } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { askIdentity, comparePid, readBootId, startTimeOf } from '../../../coordinator/launch/identity.ts';
import { signalProcess } from '../../../coordinator/launch/process-tree.ts';
import { readProcStat } from '../../../daemon/contract/proc.ts';
import { eventually } from '../../support/eventually.ts';

const bootId = readBootId();
let child: ChildProcess;
let pid: number;
beforeEach(() => {
  child = spawn('sleep', ['600'], { stdio: 'ignore' });
  pid = child.pid ?? 0;
});
afterEach(async () => {
  if (child.exitCode !== null || child.signalCode !== null) return;
  child.kill('SIGKILL');
  await once(child, 'exit');
});

/** Resolves once the kernel shows `pid` in `state`, a letter of proc(5). */
function isInState(pid: number, state: string): Promise<boolean> {
  return eventually(`process ${pid} in state ${state}`, () => readProcStat(pid)?.state === state);
}

describe('a noted pid', () => {
  test('matches the process of the same boot and start time', () => {
    expect(comparePid({ bootId, pid, startTime: startTimeOf(pid) }, bootId)).toBe('match');
  });

  test('is proven dead by another start time, another boot, or no process', async () => {
    const startTime = startTimeOf(pid);
    expect(comparePid({ bootId, pid, startTime: startTime - 1 }, bootId)).toBe('mismatch');
    expect(comparePid({ bootId: 'earlier', pid, startTime }, bootId)).toBe('mismatch');
    child.kill('SIGKILL');
    await once(child, 'exit');
    expect(comparePid({ bootId, pid, startTime }, bootId)).toBe('mismatch');
    expect(startTimeOf(pid)).toBe(0);
  });

  test('of a zombie is dead', async () => {
    // A shell that is stopped before its child ends cannot reap it; one that runs may, at any time.
    const shell = spawn('sh', ['-c', 'sleep 600 & echo $!; kill -STOP $$'], {
      stdio: ['ignore', 'pipe', 'ignore'],
    });
    try {
      const [line] = await once(shell.stdout, 'data');
      const zombie = Number(line);
      await isInState(shell.pid ?? 0, 'T');
      process.kill(zombie, 'SIGKILL');
      await isInState(zombie, 'Z');
      expect(comparePid({ bootId, pid: zombie, startTime: startTimeOf(zombie) }, bootId)).toBe('mismatch');
    } finally {
      shell.kill('SIGKILL');
      await once(shell, 'exit');
    }
  });

  test('without a start time is unverifiable while some process has it', () => {
    expect(comparePid({ bootId, pid, startTime: 0 }, bootId)).toBe('unverifiable');
  });

  test('is signalled only with the right start time', async () => {
    expect(signalProcess({ pid, startTime: startTimeOf(pid) - 1 }, 'SIGKILL')).toBe(false);
    expect(comparePid({ bootId, pid, startTime: startTimeOf(pid) }, bootId)).toBe('match');
    const exited = once(child, 'exit');
    expect(signalProcess({ pid, startTime: startTimeOf(pid) }, 'SIGKILL')).toBe(true);
    expect(await exited).toEqual([null, 'SIGKILL']);
  });
});

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
    expect(await askIdentity(socket, 's3cret', 1000)).toEqual(identity);
    await expect(askIdentity(socket, 'wrong', 1000)).rejects.toThrow('status 401');
  });

  test('ends with words when nobody listens, nobody answers, or the answer is nonsense', async () => {
    await expect(askIdentity(socket, 's', 1000)).rejects.toThrow('ENOENT');
    const answers: RequestListener[] = [
      () => undefined,
      (_req, res) => void res.writeHead(200).write('{"incarnation":'),
      (_req, res) => void res.end('{"hello":1}'),
      (_req, res) => void res.end('no json'),
      (_req, res) => void res.end('x'.repeat(100_000)),
    ];
    await serve((req, res) => answers.shift()?.(req, res));
    // The first two answers never end.
    const ask = () => askIdentity(socket, 's', answers.length > 3 ? 100 : 5000);
    await expect(ask()).rejects.toThrow('no answer within 100 ms');
    await expect(ask()).rejects.toThrow('no answer within 100 ms');
    await expect(ask()).rejects.toThrow('its answer is not an identity');
    await expect(ask()).rejects.toThrow(/JSON/);
    await expect(ask()).rejects.toThrow('too long for an identity');
  });
});
