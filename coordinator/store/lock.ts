// The state lock: one coordinator per state directory. It is SQLite's lock on a file that has no other use, so the kernel drops
// it with the process, however the process ends. Files beside it inform: they name the owner's pid and admin socket.
import { closeSync, existsSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { openSqlite } from './driver.ts';

/** The state lock, owned by this process. */
export interface StateLock {
  /** Gives the lock up, so that another coordinator can have it. Idempotent. */
  unlock(): void;
}

/** Another coordinator has the state directory's lock. */
export class StateDirLocked extends Error {
  /** Pid of the lock's owner; undefined when its note cannot be read. */
  readonly ownerPid: number | undefined;
  constructor(stateDir: string, ownerPid: number | undefined) {
    super(
      `another qwen-coordinator (pid ${ownerPid ?? 'unknown'}) is using the state directory ${stateDir}: ` +
        'stop it first, or give this one another --state-dir',
    );
    this.name = 'StateDirLocked';
    this.ownerPid = ownerPid;
  }
}

/** What the owner of the state lock notes about itself, for other processes. */
export interface LockOwner {
  readonly pid: number;
  /** Path of the owner's admin socket; absent for the command `sweep`, which has none. */
  readonly adminPath?: string;
}

const LOCK_FILE = 'coordinator.lock.db';
const PID_FILE = 'coordinator.pid';
const ADMIN_PATH_FILE = 'admin.path';
/** How long to wait for the lock: `stateLockOwner` in another process has it for under a millisecond and is no owner. */
const LOCK_TIMEOUT_MS = 100;

/**
 * Locks the state directory until `unlock` or the end of the process. The lock is not on the database itself: an exclusive lock
 * there would shut out backups and a person's sqlite3 shell.
 * @throws StateDirLocked; Error when the directory cannot be written.
 */
export function acquireStateLock(stateDir: string, owner: LockOwner): StateLock {
  const lockPath = join(stateDir, LOCK_FILE);
  // An existing lock file is not opened: POSIX drops a process's locks on a file when the process closes any descriptor of it.
  if (!existsSync(lockPath)) closeSync(openSync(lockPath, 'a', 0o600));
  const connection = openSqlite(lockPath, { timeout: LOCK_TIMEOUT_MS });
  try {
    // The open transaction is the lock. It writes nothing, so a killed owner leaves no journal to recover.
    connection.exec('BEGIN EXCLUSIVE');
    note(stateDir, PID_FILE, String(owner.pid));
    note(stateDir, ADMIN_PATH_FILE, owner.adminPath);
  } catch (error) {
    connection.close();
    if ((error as { code?: unknown }).code === 'SQLITE_BUSY')
      throw new StateDirLocked(stateDir, notedPid(stateDir));
    throw error;
  }
  return {
    unlock() {
      if (!connection.open) return;
      // The note files are removed before the lock is given up: after that they could be the next owner's.
      for (const file of [PID_FILE, ADMIN_PATH_FILE]) note(stateDir, file, undefined);
      connection.close();
    },
  };
}

/**
 * The owner of the state lock; undefined when no process has the lock. `pid` is undefined when the owner's note cannot be read.
 * For processes other than the owner. Makes nothing.
 */
export function stateLockOwner(stateDir: string): { readonly pid: number | undefined } | undefined {
  const lockPath = join(stateDir, LOCK_FILE);
  if (!existsSync(lockPath)) return undefined;
  const connection = openSqlite(lockPath, { readonly: true, timeout: 0 });
  try {
    connection.prepare('SELECT 1 FROM sqlite_master').get();
    return undefined;
  } catch (error) {
    if ((error as { code?: unknown }).code !== 'SQLITE_BUSY') throw error;
    return { pid: notedPid(stateDir) };
  } finally {
    connection.close();
  }
}

/** Path of the admin socket that the last owner noted, also when that owner was killed. Undefined without a note. */
export function notedAdminPath(stateDir: string): string | undefined {
  return noted(stateDir, ADMIN_PATH_FILE);
}

function notedPid(stateDir: string): number | undefined {
  const pid = Number(noted(stateDir, PID_FILE));
  return Number.isSafeInteger(pid) && pid > 0 ? pid : undefined;
}

function note(stateDir: string, file: string, text: string | undefined): void {
  const path = join(stateDir, file);
  if (text === undefined) rmSync(path, { force: true });
  else writeFileSync(path, `${text}\n`, { mode: 0o600 });
}

function noted(stateDir: string, file: string): string | undefined {
  try {
    return readFileSync(join(stateDir, file), 'utf8').trim() || undefined;
  } catch {
    // The owner has not written its note yet, or the file was removed.
    return undefined;
  }
}
