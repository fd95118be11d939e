// Binds an HTTP server to its TCP port or unix socket. An address that cannot be bound rejects with the system call's error code.
import type { Server } from 'node:http';
import { freeSocketPath, listenPrivately } from '../../daemon/contract/unix-socket.ts';

/** Binds a TCP port. @returns the bound port; for `port` 0 a free one. @throws Error (EADDRINUSE and kin) when binding fails. */
export async function listenOnPort(server: Server, host: string, port: number): Promise<number> {
  await bound(server, (listening) => server.listen(port, host, listening));
  const address = server.address();
  return typeof address === 'object' && address !== null ? address.port : port;
}

/**
 * Binds a unix socket with mode 0600; a socket file on which no process answers is replaced.
 * @throws SocketPathTaken when a process answers on it, or the system's error.
 */
export async function listenOnSocket(server: Server, path: string): Promise<void> {
  await freeSocketPath(path);
  await bound(server, (listening) => listenPrivately(server, path, listening));
}

/** Resolves when the server listens. @throws the server's first error. */
function bound(server: Server, listen: (listening: () => void) => void): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    listen(() => {
      server.off('error', reject);
      resolve();
    });
  });
}
