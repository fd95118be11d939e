// The lock by which a user has one daemon per workspace, stand-alone or not. It lasts as long as the process: it is a socket in
// Linux's abstract namespace, which the kernel frees with the process. A process that connects to it gets the owner's
// description.
import { rmSync } from 'node:fs';
import { connect, createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

export interface WorkspaceLock {
  /** Frees the workspace. Idempotent; the end of the process does the same. */
  unlock(): void;
}

/** The workspace belongs to another daemon. The message names that daemon. */
export class WorkspaceLocked extends Error {}

const HOLDER_ANSWER_MS = 1000;
const REMEDY = 'stop it, or use the coordinator that owns it';

/**
 * Takes the lock.
 * @param about this daemon, as the error of a refused daemon names it.
 * @throws WorkspaceLocked
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
    // A dead owner leaves the file of its socket behind, but no abstract name.
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

/** A description of the lock's owner; undefined when no process listens. */
function askOwner(name: string): Promise<string | undefined> {
  return new Promise((resolve) => {
    let text = '';
    const socket = connect(name);
    socket.setTimeout(HOLDER_ANSWER_MS, () => socket.destroy());
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
    // The owner's process exists but is too busy to answer.
    return 'its process does not answer';
  }
}
