import { existsSync, mkdtempSync, realpathSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import {
  freeSocketPath,
  isAnswered,
  listenPrivately,
  SocketPathTaken,
} from '../../../daemon/contract/unix-socket.ts';

let dir: string;
let path: string;
const servers: Server[] = [];
beforeEach(() => {
  dir = realpathSync(mkdtempSync(join(tmpdir(), 'qu-')));
  path = join(dir, 'a.sock');
});
afterEach(async () => {
  for (const server of servers.splice(0)) await new Promise((resolve) => server.close(resolve));
  rmSync(dir, { recursive: true, force: true });
});

/** Listens on `path`; `begun` runs in the tick in which the listening begins. */
function listen(begun: () => void = () => undefined): Promise<void> {
  return new Promise((resolve) => {
    const server = createServer();
    servers.push(server);
    listenPrivately(server, path, resolve);
    begun();
  });
}

test("a socket file is its owner's alone from its first moment, and the umask is what it was", async () => {
  const before = process.umask(0);
  try {
    await listen(() => {
      expect(statSync(path).mode & 0o777).toBe(0o600);
      expect(process.umask()).toBe(0);
    });
  } finally {
    process.umask(before);
  }
});

describe('a path', () => {
  test('on which nothing is, is free', async () => {
    await expect(freeSocketPath(path)).resolves.toBeUndefined();
  });

  test('is freed of a socket file that a dead process left', async () => {
    await listen();
    // Under another name the file outlives its server, as that of a killed process does.
    const left = join(dir, 'left.sock');
    renameSync(path, left);
    await new Promise((resolve) => servers.pop()?.close(resolve));
    renameSync(left, path);
    expect(await isAnswered(path)).toBe(false);
    await freeSocketPath(path);
    expect(existsSync(path)).toBe(false);
  });

  test('on which a process answers is left to it', async () => {
    await listen();
    const { ino } = statSync(path);
    expect(await isAnswered(path)).toBe(true);
    await expect(freeSocketPath(path)).rejects.toThrow(SocketPathTaken);
    await expect(freeSocketPath(path)).rejects.toMatchObject({
      code: 'EADDRINUSE',
      message: `another process listens on ${path}`,
    });
    expect(statSync(path).ino).toBe(ino);
  });

  test('on which something else is, is left as it is', async () => {
    writeFileSync(path, 'kept');
    await expect(freeSocketPath(path)).rejects.toMatchObject({
      code: 'ENOTSOCK',
      message: `${path} is in the way: it exists and is not a socket`,
    });
    expect(statSync(path).size).toBe(4);
  });
});
