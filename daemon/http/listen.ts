// The daemon's listener: binds the configured address, and binds a unix socket again when its file was removed.
import { rmSync, statSync } from 'node:fs';
import type { Server } from 'node:http';
import type { ListenAddress } from '../contract/flag-values.ts';
import {
  freeSocketPath,
  listenPrivately,
  MAX_SOCKET_PATH_BYTES,
  SocketPathTaken,
} from '../contract/unix-socket.ts';

/** The configured address is taken or unusable. The message names the address and says what to do. */
export class ListenError extends Error {}

export class DaemonListener {
  readonly #makeServer: () => Server;
  readonly #listen: ListenAddress;
  #servers: Server[] = [];
  #inode: number | undefined;
  #port = 0;

  constructor(listen: ListenAddress, makeServer: () => Server) {
    this.#listen = listen;
    this.#makeServer = makeServer;
  }

  /**
   * The bound TCP port; 0 for a unix socket, and before `open`. Kept after the listeners have closed, because the guard still
   * compares Host and Origin of late requests with it.
   */
  get port(): number {
    return this.#port;
  }

  /** Binds the address; first removes a unix socket file on which no process answers. @throws ListenError */
  async open(): Promise<void> {
    if (this.#listen.kind === 'unix') await clearStaleSocket(this.#listen.path);
    await this.#bind();
  }

  /** Binds a unix socket again when its file is gone or another file is at its path. @returns whether it was bound again. */
  async verify(): Promise<boolean> {
    if (this.#listen.kind !== 'unix' || this.#servers.length === 0) return false;
    if (inodeOf(this.#listen.path) === this.#inode) return false;
    rmSync(this.#listen.path, { force: true });
    await this.#bind();
    return true;
  }

  /** Takes no new connection from now on; open connections stay. */
  closeListeners(): void {
    for (const server of this.#servers) server.close();
  }

  /** Closes the idle connections, and with `cutAll` also the connections on which a request is being answered. */
  closeConnections(cutAll: boolean): void {
    for (const server of this.#servers) {
      if (cutAll) server.closeAllConnections();
      else server.closeIdleConnections();
    }
  }

  async #bind(): Promise<void> {
    const server = this.#makeServer();
    const listen = this.#listen;
    await new Promise<void>((resolve, reject) => {
      server.once('error', (error: NodeJS.ErrnoException) =>
        reject(new ListenError(bindProblem(listen, error))),
      );
      if (listen.kind === 'tcp') server.listen(listen.port, listen.host, resolve);
      else listenPrivately(server, listen.path, resolve);
    });
    this.#servers.push(server);
    const address = server.address();
    if (typeof address === 'object' && address !== null) this.#port = address.port;
    if (listen.kind === 'unix') this.#inode = inodeOf(listen.path);
  }
}

function inodeOf(path: string): number | undefined {
  try {
    return statSync(path).ino;
  } catch {
    // A file that the daemon cannot look at is one that clients cannot reach: `verify` binds the socket again.
    return undefined;
  }
}

/** Removes a dead process's socket at `path`. @throws ListenError for a path that is too long, no socket, or in use. */
async function clearStaleSocket(path: string): Promise<void> {
  const bytes = Buffer.byteLength(path);
  if (bytes > MAX_SOCKET_PATH_BYTES)
    throw new ListenError(
      `the socket path has ${bytes} bytes, the limit is ${MAX_SOCKET_PATH_BYTES}: choose a shorter path than ${path}`,
    );
  try {
    await freeSocketPath(path);
  } catch (error) {
    throw error instanceof SocketPathTaken ? new ListenError(error.message) : error;
  }
}

function bindProblem(listen: ListenAddress, { code, message }: NodeJS.ErrnoException): string {
  const where = listen.kind === 'unix' ? listen.path : `${listen.host}:${listen.port}`;
  if (code === 'EADDRINUSE') return `${where} is in use: stop what listens there, or choose another address`;
  return `cannot listen on ${where}: ${message}`;
}
