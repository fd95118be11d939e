// Finds where the coordinator of a state directory can be asked. Only looks: makes no file and no directory.
import { dirname, join } from 'node:path';
import { MAX_SOCKET_PATH_BYTES } from '../../daemon/contract/unix-socket.ts';
import { ADMIN_SOCKET, type CoordinatorOptions } from '../app.ts';
import { findStateDir, hasRuntimeDir, runtimeDirOf } from '../launch/directories.ts';
import { notedAdminPath, stateHolder } from '../store/lock.ts';
import { CommandError, EXIT } from './exit-codes.ts';

export interface AdminTarget {
  /** Absolute. */
  readonly stateDir: string;
  readonly runtimeBases: CoordinatorOptions['runtimeBases'];
}

export interface AdminSocket {
  /** Canonical. */
  readonly stateDir: string;
  readonly socketPath: string;
  /** The coordinator noted it itself; otherwise it follows from our own environment. */
  readonly isNoted: boolean;
}

/**
 * The admin socket of the coordinator that runs on the state directory; somebody may or may not listen there.
 * @throws CommandError `notRunning` when nobody can; UnusablePath when a directory on the way is not ours alone.
 */
export function findAdminSocket({ stateDir: given, runtimeBases }: AdminTarget): AdminSocket {
  const stateDir = findStateDir(given);
  if (stateDir === undefined) throw new CommandError(EXIT.notRunning, notRunning(given));
  const noted = notedAdminPath(stateDir);
  const uid = process.getuid?.() ?? 0;
  const socketPath = noted ?? join(runtimeDirOf({ ...runtimeBases, uid, stateDir }), ADMIN_SOCKET);
  const place = { stateDir, socketPath, isNoted: noted !== undefined };
  // On a longer path Node would ask whoever listens on its beginning.
  const canListen = Buffer.byteLength(socketPath) <= MAX_SOCKET_PATH_BYTES;
  if (!canListen || !hasRuntimeDir(dirname(socketPath))) throw unreachable(place);
  return place;
}

/** What it means that nobody answers there: the lock tells whether a coordinator runs all the same. */
export function unreachable({ stateDir, socketPath, isNoted }: AdminSocket): CommandError {
  const holder = stateHolder(stateDir);
  if (holder === undefined) return new CommandError(EXIT.notRunning, notRunning(stateDir));
  const why = isNoted
    ? 'it is starting or ending, or the socket was removed'
    : 'it was started with another XDG_RUNTIME_DIR (or TMPDIR); run this command with the same value';
  return new CommandError(
    EXIT.unexpected,
    `a coordinator is running as pid ${holder.pid ?? 'unknown'} on the state directory ${stateDir}, ` +
      `but its admin socket is not at ${socketPath}: ${why}`,
  );
}

function notRunning(stateDir: string): string {
  return `no coordinator is running on the state directory ${stateDir}`;
}
