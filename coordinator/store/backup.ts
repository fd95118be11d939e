// Makes a backup: a copy of the database while it is in use, without the secrets of the daemons that run.
import { chmodSync, closeSync, linkSync, openSync, rmSync, statSync } from 'node:fs';
import { dirname } from 'node:path';
import { failPlain } from '../../daemon/contract/errors.ts';
import type { StoreDatabase } from './database.ts';
import { openSqlite } from './driver.ts';
import type { BackupFacts } from './store.ts';
import { syncToDisk } from './sync-to-disk.ts';

/**
 * Copies the database into `file` (absolute, mode 0600), one file that can be opened anywhere. Writes to the database go on
 * meanwhile; what was committed before the call is in the copy. `file` appears only once the copy is whole and on the disk.
 * @throws ApiError 409 when `file` exists, 400 when its directory is missing or not writable; Error when the copy fails.
 */
export async function backupTo(database: StoreDatabase, file: string): Promise<BackupFacts> {
  if (statSync(file, { throwIfNoEntry: false }) !== undefined)
    throw failPlain(409, `${file} exists; a backup never overwrites a file`);
  const partial = `${file}.partial-${process.pid}`;
  createPrivate(partial);
  try {
    await database.copyTo(partial);
    const sessions = withoutSecrets(partial);
    // A link instead of a rename: a rename would overwrite a file of that name that was made meanwhile.
    linkSync(partial, file);
    syncToDisk(dirname(file));
    return { file, bytes: statSync(file).size, sessions };
  } finally {
    for (const end of ['', '-wal', '-shm', '-journal']) rmSync(partial + end, { force: true });
  }
}

function createPrivate(path: string): void {
  try {
    closeSync(openSync(path, 'wx', 0o600));
    chmodSync(path, 0o600);
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    throw failPlain(code === 'EEXIST' ? 409 : 400, `cannot write a backup: ${message}`);
  }
}

/**
 * Blanks the daemons' secrets in the copy at `path`, also in the free space of its pages.
 * @returns the number of sessions in the copy.
 */
function withoutSecrets(path: string): number {
  const copy = openSqlite(path);
  try {
    // The copy has to be one file: in WAL mode it would need -wal and -shm files beside it when it is first read.
    copy.pragma('journal_mode = DELETE');
    copy.pragma('synchronous = FULL');
    copy.pragma('secure_delete = ON');
    copy.exec(`UPDATE daemons SET secret = '' WHERE secret <> ''`);
    return Number(copy.prepare('SELECT count(*) FROM sessions').pluck().get());
  } finally {
    copy.close();
  }
}
