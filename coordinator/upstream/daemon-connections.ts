// Keep-alive connections to daemons: one pool for each workspace, dropped when another incarnation takes the workspace over.
import type { Agent as HttpPool } from 'node:http';
import { connectionPool } from './dial.ts';
import type { Endpoint } from './endpoint.ts';

interface Pool {
  readonly endpoint: Endpoint;
  readonly connections: HttpPool;
}

export class DaemonConnections {
  readonly #byWorkspace = new Map<string, Pool>();
  readonly #idleMs: number;

  /**
   * @param idleMs how long a free connection is kept. Well under a daemon's keep-alive timeout, so that no request is
   *   sent on a connection that the daemon is about to close.
   */
  constructor(idleMs: number) {
    this.#idleMs = idleMs;
  }

  /**
   * The pool of connections to this incarnation. Idle connections to an earlier incarnation of the workspace's daemon are closed.
   */
  poolFor(endpoint: Endpoint): HttpPool {
    const known = this.#byWorkspace.get(endpoint.workspaceId);
    if (known !== undefined && isSame(known.endpoint, endpoint)) return known.connections;
    if (known !== undefined) this.#closeIdle(known.connections);
    const connections = connectionPool(endpoint.address, this.#idleMs);
    this.#byWorkspace.set(endpoint.workspaceId, { endpoint, connections });
    return connections;
  }

  /** Drops the pool of an endpoint that does not answer any more. Requests under way end on their own. */
  forget(endpoint: Endpoint): void {
    const known = this.#byWorkspace.get(endpoint.workspaceId);
    if (known === undefined || !isSame(known.endpoint, endpoint)) return;
    this.#byWorkspace.delete(endpoint.workspaceId);
    this.#closeIdle(known.connections);
  }

  close(): void {
    for (const { connections } of this.#byWorkspace.values()) connections.destroy();
    this.#byWorkspace.clear();
  }

  #closeIdle({ freeSockets }: HttpPool): void {
    // Streams of the old incarnation may still be ending cleanly: only idle connections are cut here, and a connection that
    // becomes idle later is closed after `idleMs`.
    for (const sockets of Object.values(freeSockets)) for (const socket of sockets ?? []) socket.destroy();
  }
}

/** Compares incarnations only, because an incarnation never changes its address while it runs. */
function isSame(one: Endpoint, other: Endpoint): boolean {
  return one === other || one.incarnation === other.incarnation;
}
