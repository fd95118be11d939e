// Finds the admin socket of the coordinator that runs on a state directory. Makes no file and no directory.
import { dirname, join } from 'node:path';
import { MAX_SOCKET_PATH_BYTES } from '../../daemon/contract/unix-socket.ts';
import { ADMIN_SOCKET, type CoordinatorOptions } from '../app.ts';
import { findStateDir, hasRuntimeDir, runtimeDirOf } from '../launch/directories.ts';
import { notedAdminPath, stateLockOwner } from '../store/lock.ts';
import { CommandError, EXIT } from './exit-codes.ts';

/** The coordinator that a command is for: the one that runs on this state directory. */
export interface AdminTarget {
  /** Absolute path. */
  readonly stateDir: string;
  readonly runtimeBases: CoordinatorOptions['runtimeBases'];
}

export interface AdminSocket {
  /** Canonical path of the target's state directory. */
  readonly stateDir: string;
  readonly path: string;
  /**
   * Whether the coordinator noted the path in the state directory; otherwise the path follows from this command's environment.
   */
  readonly isNoted: boolean;
}

/**
 * The admin socket of the coordinator that runs on the state directory. Does not check whether a coordinator listens on it.
 * @throws CommandError as `unreachable` when no coordinator can listen on it; UnusablePath when the state or runtime directory is
 *   not this user's alone.
 */
export function findAdminSocket({ stateDir: given, runtimeBases }: AdminTarget): AdminSocket {
  const stateDir = findStateDir(given);
  if (stateDir === undefined) throw new CommandError(EXIT.notRunning, notRunning(given));
  const noted = notedAdminPath(stateDir);
  const uid = process.getuid?.() ?? 0;
  const path = noted ?? join(runtimeDirOf({ ...runtimeBases, uid, stateDir }), ADMIN_SOCKET);
  const socket = { stateDir, path, isNoted: noted !== undefined };
  // Node cuts a longer path off, and would connect to another process, which listens on the shortened path.
  const canListen = Buffer.byteLength(path) <= MAX_SOCKET_PATH_BYTES;
  if (!canListen || !hasRuntimeDir(dirname(path))) throw unreachable(socket);
  return socket;
}

/**
 * The error for an admin socket without an answer: `notRunning`, or `unexpected` if a coordinator has the state directory's lock.
 */
export function unreachable({ stateDir, path, isNoted }: AdminSocket): CommandError {
  const owner = stateLockOwner(stateDir);
  if (owner === undefined) return new CommandError(EXIT.notRunning, notRunning(stateDir));
  const why = isNoted
    ? 'it is starting or ending, or the socket was removed'
    : 'it was started with another XDG_RUNTIME_DIR (or TMPDIR); run this command with the same value';
  return new CommandError(
    EXIT.unexpected,
    `a coordinator is running as pid ${owner.pid ?? 'unknown'} on the state directory ${stateDir}, ` +
      `but its admin socket is not at ${path}: ${why}`,
  );
}

function notRunning(stateDir: string): string {
  return `no coordinator is running on the state directory ${stateDir}`;
}
