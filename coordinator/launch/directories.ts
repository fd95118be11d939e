// The two directories that everything else trusts: what is kept (state) and where sockets are (runtime). Both must be
// this user's alone, because whoever can write there can pose as a daemon or read its secret.
import { createHash } from 'node:crypto';
import { lstatSync, mkdirSync, realpathSync, type Stats, statSync } from 'node:fs';
import { join } from 'node:path';

/**
 * Longest socket path. The kernel takes 107 bytes (macOS 103); over that Node 20 cuts the path without a word and listens
 * somewhere else.
 */
export const MAX_SOCKET_PATH_BYTES = 100;

const GROUP_OR_WORLD_WRITABLE = 0o022;
const ANY_OTHER_ACCESS = 0o077;

/**
 * Creates the state directory (0700, parents too) where it is missing.
 * @returns its canonical path.
 * @throws Error naming path, owner and remedy when it is another user's or others may write to it.
 */
export function ensureStateDir(path: string, uid = ownUid()): string {
  mkdirSync(path, { recursive: true, mode: 0o700 });
  const canonical = realpathSync.native(path);
  const stats = statSync(canonical);
  checkOwner('state directory', canonical, stats, uid);
  if ((stats.mode & GROUP_OR_WORLD_WRITABLE) !== 0) throw tooOpen('state directory', canonical, stats);
  return canonical;
}

export interface RuntimeDirOptions {
  readonly xdgRuntimeDir: string | undefined;
  /** The system's temporary directory. */
  readonly tmpDir: string;
  readonly uid: number;
  /** Canonical; each state directory has sockets of its own. */
  readonly stateDir: string;
}

/**
 * Creates and checks the directory of the sockets: `$XDG_RUNTIME_DIR/qwen-coordinator/<hash>`, or below the temporary
 * directory where there is no such (an inherited XDG_RUNTIME_DIR often names one of another login).
 * @throws Error naming the level that is a symlink, another user's, or open to others.
 */
export function ensureRuntimeDir({ xdgRuntimeDir, tmpDir, uid, stateDir }: RuntimeDirOptions): string {
  const hash = createHash('sha256').update(stateDir, 'utf8').digest('hex').slice(0, 12);
  const parent =
    xdgRuntimeDir !== undefined && isOwnDirectory(xdgRuntimeDir, uid)
      ? join(xdgRuntimeDir, 'qwen-coordinator')
      : join(tmpDir, `qwen-coordinator-${uid}`);
  ensurePrivate(parent, uid);
  const runtimeDir = join(parent, hash);
  ensurePrivate(runtimeDir, uid);
  return runtimeDir;
}

/** The socket of one incarnation. @throws Error as `checkSocketPath`. */
export function socketPathFor(runtimeDir: string, incarnation: string): string {
  const path = join(runtimeDir, `${incarnation}.sock`);
  checkSocketPath(path);
  return path;
}

/** @throws Error with path and length when the path is over 100 bytes, before anything listens there. */
export function checkSocketPath(path: string): void {
  const bytes = Buffer.byteLength(path);
  if (bytes <= MAX_SOCKET_PATH_BYTES) return;
  throw new Error(
    `the socket path ${path} has ${bytes} bytes, the limit is ${MAX_SOCKET_PATH_BYTES}: ` +
      'set XDG_RUNTIME_DIR to a shorter directory',
  );
}

/** In a shared temporary directory anybody may have made the name first: nothing is taken on trust, nothing is mended. */
function ensurePrivate(path: string, uid: number): void {
  try {
    mkdirSync(path, { mode: 0o700 });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
  }
  const stats = lstatSync(path);
  if (!stats.isDirectory())
    throw new Error(`runtime directory ${path} is not a directory but a link or a file: remove it`);
  checkOwner('runtime directory', path, stats, uid);
  if ((stats.mode & ANY_OTHER_ACCESS) !== 0) throw tooOpen('runtime directory', path, stats);
}

function isOwnDirectory(path: string, uid: number): boolean {
  const stats = statSync(path, { throwIfNoEntry: false });
  return stats?.isDirectory() === true && stats.uid === uid;
}

function checkOwner(what: string, path: string, stats: Stats, uid: number): void {
  if (stats.uid !== uid)
    throw new Error(
      `${what} ${path} belongs to user ${stats.uid}, this is user ${uid}: ` +
        `run "sudo chown ${uid} '${path}' && chmod 700 '${path}'" or use another directory`,
    );
}

function tooOpen(what: string, path: string, stats: Stats): Error {
  const mode = (stats.mode & 0o777).toString(8);
  return new Error(
    `${what} ${path} (owner ${stats.uid}, mode ${mode}) is open to other users: run "chmod 700 '${path}'"`,
  );
}

/** No user ids on this system (Windows): every file counts as user 0's, as `stat` reports there. */
function ownUid(): number {
  return process.getuid?.() ?? 0;
}
