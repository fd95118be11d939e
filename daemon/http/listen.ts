// The daemon's listener: binds its address, and binds a unix socket again whose file was removed.
import { rmSync, statSync } from 'node:fs';
import type { Server } from 'node:http';
import type { ListenAddress } from '../contract/flag-values.ts';
import {
  freeSocketPath,
  listenPrivately,
  MAX_SOCKET_PATH_BYTES,
  SocketPathTaken,
} from '../contract/unix-socket.ts';

/** The address is taken or unusable. The message names it and says what to do. */
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
   * The bound port; 0 on a unix socket or before `open`. It stays while the listener closes, because requests that still arrive
   * are judged by it.
   */
  get port(): number {
    return this.#port;
  }

  /** @throws ListenError */
  async open(): Promise<void> {
    if (this.#listen.kind === 'unix') await clearStaleSocket(this.#listen.path);
    await this.#bind();
  }

  /** Binds the socket again when its file is gone or another file is at its path. @returns whether that was so. */
  async verify(): Promise<boolean> {
    if (this.#listen.kind !== 'unix' || this.#servers.length === 0) return false;
    if (inodeOf(this.#listen.path) === this.#inode) return false;
    rmSync(this.#listen.path, { force: true });
    await this.#bind();
    return true;
  }

  /** From now on no new connection is taken. */
  closeListeners(): void {
    for (const server of this.#servers) server.close();
  }

  /** Closes the idle connections, and with `cutAll` also those with a request. */
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
    // The file cannot be looked at, so clients cannot reach it: the caller binds the socket again.
    return undefined;
  }
}

/** @throws ListenError when the path is too long, is no socket, or another process answers on it. */
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
