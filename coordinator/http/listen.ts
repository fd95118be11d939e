// Binds the listeners. What is wrong with an address is an error with the code that a system call would give.
import { lstatSync, rmSync } from 'node:fs';
import type { Server } from 'node:http';
import { connect } from 'node:net';

/** @returns the port it got. @throws Error (EADDRINUSE and kin) when the address cannot be bound. */
export async function listenOnPort(server: Server, host: string, port: number): Promise<number> {
  await bound(server, (listening) => server.listen(port, host, listening));
  const address = server.address();
  return typeof address === 'object' && address !== null ? address.port : port;
}

/**
 * Binds a unix socket with mode 0600; a socket file on which nobody answers is replaced.
 * @throws Error with code ENOTSOCK when something else is at the path, EADDRINUSE when somebody answers on it.
 */
export async function listenOnSocket(server: Server, path: string): Promise<void> {
  const stat = lstatSync(path, { throwIfNoEntry: false });
  if (stat !== undefined && !stat.isSocket())
    throw withCode('ENOTSOCK', `${path} is in the way: it exists and is not a socket`);
  if (stat !== undefined && (await answers(path)))
    throw withCode('EADDRINUSE', `another process listens on ${path}`);
  rmSync(path, { force: true });
  await bound(server, (listening) => listenPrivately(server, path, listening));
}

function bound(server: Server, listen: (listening: () => void) => void): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    listen(() => {
      server.off('error', reject);
      resolve();
    });
  });
}

/** The bind happens within `listen`, so the mask makes the file 0600 from its first moment. */
function listenPrivately(server: Server, path: string, listening: () => void): void {
  const before = process.umask(0o177);
  try {
    server.listen(path, listening);
  } finally {
    process.umask(before);
  }
}

function answers(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path, () => {
      socket.destroy();
      resolve(true);
    });
    socket.on('error', () => resolve(false));
  });
}

function withCode(code: string, message: string): NodeJS.ErrnoException {
  return Object.assign(new Error(message), { code });
}
