// Listening on unix sockets, for both processes: removes the socket file of a dead process, and creates a socket file that is
// private from its first moment.
import { lstatSync, rmSync } from 'node:fs';
import { connect, type Server } from 'node:net';

/**
 * Longest path of a socket, in bytes. The kernel takes 107 bytes (macOS 103); a longer path is silently cut by Node 20, which
 * then listens somewhere else.
 */
export const MAX_SOCKET_PATH_BYTES = 100;

/** The path cannot be listened on: a file there is no socket (`ENOTSOCK`), or another process listens (`EADDRINUSE`). */
export class SocketPathTaken extends Error {
  readonly code: 'ENOTSOCK' | 'EADDRINUSE';

  constructor(code: SocketPathTaken['code'], message: string) {
    super(message);
    this.code = code;
  }
}

/**
 * Removes the socket file at `path` when no process accepts connections on it; does nothing when there is no file.
 * @throws SocketPathTaken when another kind of file is at the path, or a process accepts connections; removes nothing then.
 */
export async function freeSocketPath(path: string): Promise<void> {
  const stat = lstatSync(path, { throwIfNoEntry: false });
  if (stat === undefined) return;
  if (!stat.isSocket())
    throw new SocketPathTaken('ENOTSOCK', `${path} is in the way: it exists and is not a socket`);
  if (await isAnswered(path)) throw new SocketPathTaken('EADDRINUSE', `another process listens on ${path}`);
  rmSync(path, { force: true });
}

/**
 * Has the server listen on `path`, whose file gets mode 0600. The bind happens within `listen`, so a umask that is set around
 * this call makes the file private from its first moment.
 */
export function listenPrivately(server: Server, path: string, listening: () => void): void {
  const before = process.umask(0o177);
  try {
    server.listen(path, listening);
  } finally {
    process.umask(before);
  }
}

/** Whether a process accepts connections on the socket at `path`. Never rejects. */
export function isAnswered(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path, () => {
      socket.destroy();
      resolve(true);
    });
    socket.on('error', () => resolve(false));
  });
}
