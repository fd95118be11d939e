// The two directories that everything else trusts: of the files that are kept (state) and of the sockets (runtime). Both must
// be this user's alone, because a user who can write there can pose as a daemon or read its secret.
import { createHash } from 'node:crypto';
import { lstatSync, mkdirSync, realpathSync, type Stats, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { MAX_SOCKET_PATH_BYTES } from '../../daemon/contract/unix-socket.ts';

const GROUP_OR_WORLD_WRITABLE = 0o022;
const ANY_OTHER_ACCESS = 0o077;

/** A directory or socket path that cannot be used or must not be trusted. The message says which, why, and what to do. */
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
 * The state directory for a command that only looks: nothing is made.
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
  /** Canonical path; each state directory has sockets of its own. */
  readonly stateDir: string;
}

/**
 * Where the sockets are: `$XDG_RUNTIME_DIR/qwen-coordinator/<hash>`, or below the temporary directory where that variable names
 * no directory of this user (an inherited one often names that of another login). Nothing is made.
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
 * Creates and checks the directory of the sockets.
 * @throws UnusablePath naming the level that is a symlink, another user's, or open to others.
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
 * Whether a runtime directory is there, for a command that only looks. Its owner is checked: in a shared temporary directory
 * another user may have made it and listen there.
 * @throws UnusablePath as `ensureRuntimeDir`.
 */
export function hasRuntimeDir(runtimeDir: string, uid = ownUid()): boolean {
  return [dirname(runtimeDir), runtimeDir].every((path) => checkPrivate(path, uid));
}

/** The socket of one incarnation. @throws UnusablePath as `checkSocketPath`. */
export function socketPathFor(runtimeDir: string, incarnation: string): string {
  const path = join(runtimeDir, `${incarnation}.sock`);
  checkSocketPath(path);
  return path;
}

/**
 * @param remedy what the operator can do about it.
 * @throws UnusablePath with path and length when the path is over 100 bytes, before anything listens there.
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
 * Another user may have created the name in a shared temporary directory first: nothing is trusted, nothing is repaired.
 * @returns false where nothing has that name.
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

/** No user ids on this system (Windows): every file counts as user 0's, as `stat` reports there. */
function ownUid(): number {
  return process.getuid?.() ?? 0;
}
