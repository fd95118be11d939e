// Makes a copy of the database before its schema changes, with which an operator can go back to the earlier release. The copy
// keeps the daemons' secrets, because that release needs them for the daemons that run; so only its owner may read it.
import { closeSync, openSync, readdirSync, renameSync, rmSync, statSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { messageOf } from '../../daemon/contract/errors.ts';
import type { Sqlite } from './driver.ts';
import { checkDatabaseFile } from './integrity.ts';
import { syncToDisk } from './sync-to-disk.ts';

/** What SQLite may leave beside a file that it was killed over, as endings of the file's name. */
const REST = ['', '-journal'];
/** Names of copies, and of what a copy that was cut short has left. */
const NAME = /\.before-v\d+(?:\.partial(?:-journal)?)?$/;

/** The schema must change and the database could not be copied first. Nothing in the database has been changed. */
export class CopyFailed extends Error {}

/** Path of the copy that is made of the database at `path` before its schema becomes `version`. */
export function copyPathOf(path: string, version: number): string {
  return `${path}.before-v${version}`;
}

/**
 * Copies the database to `copyPathOf(path, version)` (mode 0600) and checks the copy. An existing copy of that name is replaced:
 * it is of an earlier upgrade that was cut short or taken back, and the database was written to since.
 * @throws CopyFailed, whose message says what to do.
 */
export function copyBeforeMigration(sqlite: Sqlite, path: string, version: number): string {
  const copy = copyPathOf(path, version);
  const partial = `${copy}.partial`;
  try {
    for (const end of REST) rmSync(partial + end, { force: true });
    closeSync(openSync(partial, 'wx', 0o600));
    // VACUUM INTO makes one file without a log, from one read transaction, and without the bytes of deleted rows.
    sqlite.prepare('VACUUM INTO ?').run(partial);
    checkDatabaseFile(partial);
    syncToDisk(partial);
    renameSync(partial, copy);
    syncToDisk(dirname(copy));
    return copy;
  } catch (error) {
    throw new CopyFailed(
      `${path} needs schema version ${version}, and could not be copied to ${copy} before the change (${messageOf(error)}): ` +
        `see that its directory can be written and has ${statSync(path).size} bytes free, then start again. Nothing was changed`,
    );
  } finally {
    for (const end of REST) discard(partial + end);
  }
}

/** Removes copies of the database at `path` that were made more than `maxAgeMs` before `nowMs` (epoch ms). Never throws. */
export function removeOldCopies(path: string, maxAgeMs: number, nowMs: number): void {
  for (const copy of copiesOf(path)) if (nowMs - madeAtMs(copy, nowMs) > maxAgeMs) discard(copy);
}

/** When the file was made, in epoch ms; `nowMs` where that cannot be read. */
function madeAtMs(copy: string, nowMs: number): number {
  try {
    return statSync(copy).mtimeMs;
  } catch {
    // The file was removed meanwhile, or the disk refuses: the next upkeep tries again.
    return nowMs;
  }
}

function copiesOf(path: string): readonly string[] {
  const name = basename(path);
  try {
    return readdirSync(dirname(path))
      .filter((entry) => entry.startsWith(`${name}.`) && NAME.test(entry))
      .map((entry) => join(dirname(path), entry));
  } catch {
    // The directory cannot be read at present: the next upkeep tries again.
    return [];
  }
}

function discard(file: string): void {
  try {
    rmSync(file, { force: true });
  } catch {
    // The disk refuses: the next migration or the next upkeep removes the file.
  }
}
