// The lock that keeps a user from running two daemons for one workspace, stand-alone or not. The lock lasts as long as its
// owner's process: on Linux it is a socket in the abstract namespace, which the kernel frees with the process, elsewhere a
// socket file. A process that connects to the socket gets a description of the owner as JSON.
import { rmSync } from 'node:fs';
import { connect, createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

export interface WorkspaceLock {
  /** Frees the lock. Idempotent; the end of the process frees the lock too. */
  unlock(): void;
}

/** Another daemon has the workspace's lock. The message names that daemon. */
export class WorkspaceLocked extends Error {}

/** Longest silence of the lock's owner before it counts as a process that does not answer. */
const OWNER_ANSWER_MS = 1000;
const REMEDY = 'stop it, or use the coordinator that owns it';

/**
 * Takes the lock of a workspace.
 * @param about describes this daemon; a later daemon that is refused the lock names it in its error.
 * @throws WorkspaceLocked when another daemon has the lock.
 */
export async function lockWorkspace(
  workspaceId: string,
  about: { readonly pid: number; readonly workspace: string; readonly incarnation: string | undefined },
): Promise<WorkspaceLock> {
  const name = lockName(workspaceId);
  const server = createServer((socket) => {
    socket.on('error', () => socket.destroy());
    socket.end(JSON.stringify(about));
  });
  server.unref();
  if (!(await listens(server, name))) {
    const owner = await askOwner(name);
    if (owner !== undefined)
      throw new WorkspaceLocked(`the workspace is served by another daemon (${owner}): ${REMEDY}`);
    // A dead owner leaves its socket file behind, but an abstract name is freed with its process.
    if (!name.startsWith('\0')) rmSync(name, { force: true });
    if (!(await listens(server, name)))
      throw new WorkspaceLocked(
        `the workspace is served by another daemon, which does not answer: ${REMEDY}`,
      );
  }
  return { unlock: () => server.close() };
}

function lockName(workspaceId: string): string {
  const uid = process.getuid?.() ?? 0;
  const name = `qwen-daemon-${uid}-${workspaceId}`;
  return process.platform === 'linux' ? `\0${name}` : join(tmpdir(), `${name}.lock`);
}

function listens(server: Server, name: string): Promise<boolean> {
  return new Promise((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) => {
      server.removeAllListeners('listening');
      if (error.code === 'EADDRINUSE') resolve(false);
      else reject(error);
    });
    server.listen(name, () => {
      server.removeAllListeners('error');
      resolve(true);
    });
  });
}

/** Asks the lock's owner for its description, as a phrase for an error text; undefined when no process listens on `name`. */
function askOwner(name: string): Promise<string | undefined> {
  return new Promise((resolve) => {
    let text = '';
    const socket = connect(name);
    socket.setTimeout(OWNER_ANSWER_MS, () => socket.destroy());
    socket.on('data', (chunk) => {
      text += chunk.toString('utf8');
    });
    socket.on('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'ECONNREFUSED' || error.code === 'ENOENT') resolve(undefined);
    });
    socket.on('close', () => resolve(describeOwner(text)));
  });
}

function describeOwner(text: string): string {
  try {
    const { pid, workspace, incarnation } = JSON.parse(text) as Record<string, unknown>;
    const owner = incarnation === undefined ? 'stand-alone' : `started by a coordinator as ${incarnation}`;
    return `pid ${pid} on ${workspace}, ${owner}`;
  } catch {
    // The owner's process exists, but was too busy to send its description in time.
    return 'its process does not answer';
  }
}
