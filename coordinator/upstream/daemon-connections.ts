// Keep-alive connections to daemons: one pool for each workspace, dropped when another incarnation takes the workspace over.
import type { Agent } from 'node:http';
import { connectionPool } from './dial.ts';
import type { Endpoint } from './endpoint.ts';

interface Pool {
  readonly endpoint: Endpoint;
  readonly agent: Agent;
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
  agentFor(endpoint: Endpoint): Agent {
    const known = this.#byWorkspace.get(endpoint.workspaceId);
    if (known !== undefined && isSame(known.endpoint, endpoint)) return known.agent;
    if (known !== undefined) this.#closeIdle(known.agent);
    const agent = connectionPool(endpoint.address, this.#idleMs);
    this.#byWorkspace.set(endpoint.workspaceId, { endpoint, agent });
    return agent;
  }

  /** Drops the pool of an endpoint that does not answer any more. Requests under way end on their own. */
  forget(endpoint: Endpoint): void {
    const known = this.#byWorkspace.get(endpoint.workspaceId);
    if (known === undefined || !isSame(known.endpoint, endpoint)) return;
    this.#byWorkspace.delete(endpoint.workspaceId);
    this.#closeIdle(known.agent);
  }

  close(): void {
    for (const { agent } of this.#byWorkspace.values()) agent.destroy();
    this.#byWorkspace.clear();
  }

  #closeIdle(agent: Agent): void {
    // Streams of the old incarnation may still be ending cleanly: only idle connections are cut here, and a connection that
    // becomes idle later is closed after `idleMs`.
    for (const sockets of Object.values(agent.freeSockets))
      for (const socket of sockets ?? []) socket.destroy();
  }
}

/** Compares incarnations only, because an incarnation never changes its address while it runs. */
function isSame(one: Endpoint, other: Endpoint): boolean {
  return one === other || one.incarnation === other.incarnation;
}
