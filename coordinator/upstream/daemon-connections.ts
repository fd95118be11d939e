// Keep-alive connections to daemons: one agent a socket path, forgotten when another incarnation takes the workspace over.
import { Agent } from 'node:http';

export interface DaemonAddress {
  readonly workspaceId: string;
  readonly socketPath: string;
}

export class DaemonConnections {
  readonly #byWorkspace = new Map<string, { readonly socketPath: string; readonly agent: Agent }>();
  readonly #idleMs: number;

  /**
   * @param idleMs how long a free connection is kept. Well under a daemon's keep-alive timeout, so that no request is
   *   sent on a connection that the daemon is about to close.
   */
  constructor(idleMs: number) {
    this.#idleMs = idleMs;
  }

  agentFor(daemon: DaemonAddress): Agent {
    const known = this.#byWorkspace.get(daemon.workspaceId);
    if (known?.socketPath === daemon.socketPath) return known.agent;
    if (known !== undefined) this.#release(known.agent);
    const agent = new Agent({ keepAlive: true, timeout: this.#idleMs, scheduling: 'lifo' });
    this.#byWorkspace.set(daemon.workspaceId, { socketPath: daemon.socketPath, agent });
    return agent;
  }

  /** Drops the connections of an endpoint that does not answer any more. Requests under way end on their own. */
  forget(daemon: DaemonAddress): void {
    const known = this.#byWorkspace.get(daemon.workspaceId);
    if (known?.socketPath !== daemon.socketPath) return;
    this.#byWorkspace.delete(daemon.workspaceId);
    this.#release(known.agent);
  }

  close(): void {
    for (const { agent } of this.#byWorkspace.values()) agent.destroy();
    this.#byWorkspace.clear();
  }

  #release(agent: Agent): void {
    // Streams of the old incarnation may still be ending cleanly: only idle connections are cut here, and one that
    // becomes idle later goes after `idleMs`.
    for (const sockets of Object.values(agent.freeSockets))
      for (const socket of sockets ?? []) socket.destroy();
  }
}
