// One coordinator per state directory. The lock is SQLite's own on a file of its own, so the kernel drops it with the
// process, however that ends; the pid file beside it only informs.
import { closeSync, existsSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import SqliteConnection from 'better-sqlite3';

export interface StateLock {
  /** Lets the next coordinator in. Idempotent. */
  release(): void;
}

/** Another coordinator holds the state directory. */
export class StateDirLocked extends Error {
  /** As the holder noted it, undefined when its note cannot be read. */
  readonly holderPid: number | undefined;
  constructor(stateDir: string, holderPid: number | undefined) {
    super(
      `another qwen-coordinator (pid ${holderPid ?? 'unknown'}) is using the state directory ${stateDir}: ` +
        'stop it first, or give this one another --state-dir',
    );
    this.name = 'StateDirLocked';
    this.holderPid = holderPid;
  }
}

/**
 * Takes the state directory for the life of the process. Not in the state database itself: there the exclusive mode
 * would shut out backups and a person's sqlite3 shell.
 * @throws StateDirLocked; Error when the directory cannot be written.
 */
export function acquireStateLock(stateDir: string, { pid }: { readonly pid: number }): StateLock {
  const lockPath = join(stateDir, 'coordinator.lock.db');
  const pidPath = join(stateDir, 'coordinator.pid');
  // Only where it is missing: POSIX drops a process's locks on a file when it closes any descriptor of it.
  if (!existsSync(lockPath)) closeSync(openSync(lockPath, 'a', 0o600));
  const connection = new SqliteConnection(lockPath, { timeout: 0 });
  try {
    // Never committed. Without a write there is no journal either, so a killed holder leaves nothing to recover.
    connection.exec('BEGIN EXCLUSIVE');
    writeFileSync(pidPath, `${pid}\n`, { mode: 0o600 });
  } catch (error) {
    connection.close();
    if ((error as { code?: unknown }).code === 'SQLITE_BUSY')
      throw new StateDirLocked(stateDir, notedPid(pidPath));
    throw error;
  }
  return {
    release() {
      if (!connection.open) return;
      // The note goes first: after the close it could already be the next holder's.
      rmSync(pidPath, { force: true });
      connection.close();
    },
  };
}

function notedPid(pidPath: string): number | undefined {
  try {
    const pid = Number(readFileSync(pidPath, 'utf8'));
    return Number.isSafeInteger(pid) && pid > 0 ? pid : undefined;
  } catch {
    // The holder has not written its note yet, or somebody removed it.
    return undefined;
  }
}
