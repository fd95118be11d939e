// One coordinator per state directory. The lock is SQLite's, on a file that has no other use, so the kernel drops the lock with
// the process, however the process ends; the notes beside the file (who has the lock, where to ask) only inform.
import { closeSync, existsSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { openSqlite } from './driver.ts';

export interface StateLock {
  /** Lets the next coordinator in. Idempotent. */
  unlock(): void;
}

/** Another coordinator has the state directory's lock. */
export class StateDirLocked extends Error {
  /** As the owner noted it; undefined when the note cannot be read. */
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

/** What an owner notes about itself. */
export interface LockOwner {
  readonly pid: number;
  /** Where the owner can be asked; absent for a sweep, which cannot. */
  readonly adminPath?: string;
}

const LOCK_FILE = 'coordinator.lock.db';
const PID_FILE = 'coordinator.pid';
const ADMIN_PATH_FILE = 'admin.path';
/** A process that only looks (`stateLockOwner`) has the lock for less than a millisecond and must not pass for an owner. */
const LOCK_TIMEOUT_MS = 100;

/**
 * Locks the state directory for the life of the process. The lock is not on the state database itself: there its exclusive mode
 * would shut out backups and a person's sqlite3 shell.
 * @throws StateDirLocked; Error when the directory cannot be written.
 */
export function acquireStateLock(stateDir: string, owner: LockOwner): StateLock {
  const lockPath = join(stateDir, LOCK_FILE);
  // Made only where it is missing: POSIX drops a process's locks on a file when the process closes any descriptor of it.
  if (!existsSync(lockPath)) closeSync(openSync(lockPath, 'a', 0o600));
  const connection = openSqlite(lockPath, { timeout: LOCK_TIMEOUT_MS });
  try {
    // The transaction is never committed and writes nothing: without a journal a killed owner leaves nothing to recover.
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
      // The notes are removed first: after the close they could already be the next owner's.
      for (const file of [PID_FILE, ADMIN_PATH_FILE]) note(stateDir, file, undefined);
      connection.close();
    },
  };
}

/**
 * The process that has the lock now, undefined when none has; its pid is undefined when its note cannot be read. To be called
 * in other processes than the owner; makes nothing.
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

/** Where the last owner noted that it can be asked; the note of a killed owner stays. Undefined without a note. */
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
