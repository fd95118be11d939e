// Makes and checks the state directory (persistent files) and the runtime directory (sockets). Both must be this user's alone,
// because a user who can write in them can pose as a daemon or read its secret.
import { createHash } from 'node:crypto';
import { lstatSync, mkdirSync, realpathSync, type Stats, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { MAX_SOCKET_PATH_BYTES } from '../../daemon/contract/unix-socket.ts';

const GROUP_OR_WORLD_WRITABLE = 0o022;
const ANY_OTHER_ACCESS = 0o077;

/** A directory or socket path cannot be used or must not be trusted. The message names the path, the reason and the remedy. */
export class UnusablePath extends Error {}

/**
 * Creates the state directory (0700, parents too) where it is missing.
 * @returns its canonical path.
 * @throws UnusablePath naming path, owner and remedy when the directory is another user's or others may write to it.
 */
export function ensureStateDir(path: string, uid = ownUid()): string {
  const canonical = reachable(path, () => {
    mkdirSync(path, { recursive: true, mode: 0o700 });
    return realpathSync.native(path);
  });
  const stats = statSync(canonical);
  checkOwner('state directory', canonical, stats, uid);
  checkWriters(canonical, stats);
  return canonical;
}

/**
 * Finds the state directory for a command that only reads. Makes nothing.
 * @returns its canonical path, undefined where there is no such directory.
 * @throws UnusablePath when the directory is another user's (naming that user), or others may write to it.
 */
export function findStateDir(path: string, uid = ownUid()): string | undefined {
  const canonical = reachable(path, () =>
    lstatSync(path, { throwIfNoEntry: false }) === undefined ? undefined : realpathSync.native(path),
  );
  if (canonical === undefined) return undefined;
  const stats = statSync(canonical);
  if (!stats.isDirectory()) throw new UnusablePath(`state directory ${canonical} is not a directory`);
  if (stats.uid !== uid)
    throw new UnusablePath(
      `state directory ${canonical} belongs to user ${stats.uid}, this is user ${uid}: only a coordinator of that user ` +
        `can run on it, so run this command as that user, for example with "sudo -u '#${stats.uid}'"`,
    );
  checkWriters(canonical, stats);
  return canonical;
}

export interface RuntimeDirOptions {
  readonly xdgRuntimeDir: string | undefined;
  /** The system's temporary directory. */
  readonly tmpDir: string;
  readonly uid: number;
  /** Canonical path of the state directory, whose hash names the runtime directory. */
  readonly stateDir: string;
}

/**
 * The path of the runtime directory: `$XDG_RUNTIME_DIR/qwen-coordinator/<hash>`, or below the temporary directory where that
 * variable names no directory of this user (an inherited variable often names another user's). Makes nothing.
 */
export function runtimeDirOf({ xdgRuntimeDir, tmpDir, uid, stateDir }: RuntimeDirOptions): string {
  const hash = createHash('sha256').update(stateDir, 'utf8').digest('hex').slice(0, 12);
  const parent =
    xdgRuntimeDir !== undefined && isOwnDirectory(xdgRuntimeDir, uid)
      ? join(xdgRuntimeDir, 'qwen-coordinator')
      : join(tmpDir, `qwen-coordinator-${uid}`);
  return join(parent, hash);
}

/**
 * Creates the runtime directory and the directory above it (0700) where they are missing, and checks both.
 * @returns the path of the runtime directory.
 * @throws UnusablePath naming the directory that is a symlink, another user's, or open to others.
 */
export function ensureRuntimeDir(options: RuntimeDirOptions): string {
  const runtimeDir = runtimeDirOf(options);
  for (const path of [dirname(runtimeDir), runtimeDir]) {
    makePrivate(path);
    checkPrivate(path, options.uid);
  }
  return runtimeDir;
}

/**
 * Whether the runtime directory exists, for a command that only reads. An existing directory is checked, because in a shared
 * temporary directory another user may have made it, to listen on sockets in it.
 * @throws UnusablePath as `ensureRuntimeDir`.
 */
export function hasRuntimeDir(runtimeDir: string, uid = ownUid()): boolean {
  return [dirname(runtimeDir), runtimeDir].every((path) => checkPrivate(path, uid));
}

/** Path of the socket on which that incarnation listens. @throws UnusablePath as `checkSocketPath`. */
export function socketPathFor(runtimeDir: string, incarnation: string): string {
  const path = join(runtimeDir, `${incarnation}.sock`);
  checkSocketPath(path);
  return path;
}

/**
 * Refuses a socket path that the kernel would cut off, before anything listens on it.
 * @param remedy what the operator can do about a path that is too long; ends the message.
 * @throws UnusablePath with path and length when the path is over 100 bytes.
 */
export function checkSocketPath(path: string, remedy = 'set XDG_RUNTIME_DIR to a shorter directory'): void {
  const bytes = Buffer.byteLength(path);
  if (bytes <= MAX_SOCKET_PATH_BYTES) return;
  throw new UnusablePath(
    `the socket path ${path} has ${bytes} bytes, the limit is ${MAX_SOCKET_PATH_BYTES}: ${remedy}`,
  );
}

function reachable<T>(path: string, reach: () => T): T {
  try {
    return reach();
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    throw new UnusablePath(
      `state directory ${path} cannot be used (${code ?? message}): name another with --state-dir`,
    );
  }
}

function makePrivate(path: string): void {
  try {
    mkdirSync(path, { mode: 0o700 });
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    if (code !== 'EEXIST') throw new UnusablePath(`runtime directory ${path} cannot be made: ${message}`);
  }
}

/**
 * Checks that `path` is a directory of this user which no other user can enter. Repairs nothing, because in a shared temporary
 * directory another user may have made it.
 * @returns false where `path` does not exist.
 * @throws UnusablePath when the check fails.
 */
function checkPrivate(path: string, uid: number): boolean {
  const stats = lstatSync(path, { throwIfNoEntry: false });
  if (stats === undefined) return false;
  if (!stats.isDirectory())
    throw new UnusablePath(`runtime directory ${path} is not a directory but a link or a file: remove it`);
  checkOwner('runtime directory', path, stats, uid);
  if ((stats.mode & ANY_OTHER_ACCESS) !== 0) throw tooOpen('runtime directory', path, stats);
  return true;
}

function isOwnDirectory(path: string, uid: number): boolean {
  try {
    const stats = statSync(path);
    return stats.isDirectory() && stats.uid === uid;
  } catch {
    // The directory is missing, or only its own user can see it.
    return false;
  }
}

function checkOwner(what: string, path: string, stats: Stats, uid: number): void {
  if (stats.uid !== uid)
    throw new UnusablePath(
      `${what} ${path} belongs to user ${stats.uid}, this is user ${uid}: ` +
        `run "sudo chown ${uid} '${path}' && chmod 700 '${path}'" or use another directory`,
    );
}

function checkWriters(path: string, stats: Stats): void {
  if ((stats.mode & GROUP_OR_WORLD_WRITABLE) !== 0) throw tooOpen('state directory', path, stats);
}

function tooOpen(what: string, path: string, stats: Stats): UnusablePath {
  const mode = (stats.mode & 0o777).toString(8);
  return new UnusablePath(
    `${what} ${path} (owner ${stats.uid}, mode ${mode}) is open to other users: run "chmod 700 '${path}'"`,
  );
}

/** The user id of this process. Windows has none: 0, which `stat` reports there as the owner of every file. */
function ownUid(): number {
  return process.getuid?.() ?? 0;
}
