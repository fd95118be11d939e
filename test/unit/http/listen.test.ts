import { mkdtempSync, realpathSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { listenOnPort, listenOnSocket } from '../../../coordinator/http/listen.ts';

let dir: string;
const servers: Server[] = [];
const server = () => {
  const made = createServer();
  servers.push(made);
  return made;
};
beforeEach(() => {
  dir = realpathSync(mkdtempSync(join(tmpdir(), 'ql-')));
});
afterEach(async () => {
  for (const one of servers.splice(0)) await new Promise((resolve) => one.close(resolve));
  rmSync(dir, { recursive: true, force: true });
});

describe('a unix socket', () => {
  test("is its owner's alone, and the umask is what it was", async () => {
    const path = join(dir, 'a.sock');
    const before = process.umask(0);
    try {
      await listenOnSocket(server(), path);
      expect(statSync(path).mode & 0o777).toBe(0o600);
      expect(process.umask()).toBe(0);
    } finally {
      process.umask(before);
    }
  });

  test('on which somebody answers is left to it', async () => {
    const path = join(dir, 'a.sock');
    await listenOnSocket(server(), path);
    const { ino } = statSync(path);
    await expect(listenOnSocket(createServer(), path)).rejects.toMatchObject({ code: 'EADDRINUSE' });
    expect(statSync(path).ino).toBe(ino);
  });

  test('takes no place of something else', async () => {
    const path = join(dir, 'precious');
    writeFileSync(path, 'kept');
    await expect(listenOnSocket(createServer(), path)).rejects.toMatchObject({ code: 'ENOTSOCK' });
    expect(statSync(path).size).toBe(4);
  });
});

test('a port that was left open is told, and a taken one is refused', async () => {
  const port = await listenOnPort(server(), '127.0.0.1', 0);
  expect(port).toBeGreaterThan(0);
  await expect(listenOnPort(createServer(), '127.0.0.1', port)).rejects.toMatchObject({ code: 'EADDRINUSE' });
});
