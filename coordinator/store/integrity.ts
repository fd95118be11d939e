// Checks whether a database file is damaged. A damaged file is set aside whole, never repaired or removed.
import { existsSync, renameSync, statSync } from 'node:fs';
import { openSqlite, type Sqlite } from './driver.ts';

/** Most problems that are listed; a torn page can cause thousands. */
const MAX_PROBLEMS = 10;

/** The file is damaged, or no database. Nothing in the file has been changed. */
export class DatabaseDamaged extends Error {
  readonly problems: readonly string[];
  constructor(path: string, problems: readonly string[]) {
    super(`${path} is damaged: ${problems.join('; ')}`);
    this.name = 'DatabaseDamaged';
    this.problems = problems;
  }
}

/** Whether SQLite's code says that the content of the file is wrong; false when the file could not be read or written. */
export function isCorruptionCode(code: unknown): boolean {
  return typeof code === 'string' && /^SQLITE_(?:CORRUPT|NOTADB)(?:_|$)/.test(code);
}

/**
 * Whether the last connection to the database closed in order: then it left no write-ahead log. Call it before opening the
 * database, which makes a new log.
 */
export function wasClosedInOrder(path: string): boolean {
  return (statSync(`${path}-wal`, { throwIfNoEntry: false })?.size ?? 0) === 0;
}

/**
 * Checks the database: `quick` reads every page; `full` also compares every index with its table and takes about four times as
 * long (100,000 sessions: see docs/adr/0005-a-damaged-database.md). After a problem in `quick`, `full` runs too and says more.
 * @throws DatabaseDamaged; Error when the file cannot be read.
 */
export function checkIntegrity(sqlite: Sqlite, path: string, depth: 'quick' | 'full'): void {
  let found = problems(sqlite, depth);
  if (found.length > 0 && depth === 'quick') found = [...new Set([...problems(sqlite, 'full'), ...found])];
  if (found.length > 0) throw new DatabaseDamaged(path, found.slice(0, MAX_PROBLEMS));
}

/** Runs the `full` check on a database file that no process has open. @throws as `checkIntegrity`. */
export function checkDatabaseFile(path: string): void {
  const sqlite = openSqlite(path, { readonly: true, fileMustExist: true });
  try {
    checkIntegrity(sqlite, path, 'full');
  } finally {
    sqlite.close();
  }
}

function problems(sqlite: Sqlite, depth: 'quick' | 'full'): readonly string[] {
  try {
    const check = depth === 'quick' ? 'quick_check' : 'integrity_check';
    const rows = sqlite.pragma(`${check}(${MAX_PROBLEMS})`) as readonly Record<string, unknown>[];
    const words = rows.map((row) => String(row[check]));
    return words.filter((word) => word !== 'ok');
  } catch (error) {
    if (!isCorruptionCode((error as { code?: unknown }).code)) throw error;
    return [(error as Error).message];
  }
}

/**
 * Renames the database and its write-ahead log to `<path>.corrupt-<YYYYMMDD-HHMMSS>` (UTC). Close every connection first.
 * @returns the new path of the main file.
 */
export function setAside(path: string, nowMs: number): string {
  const [date = '', time = ''] = new Date(nowMs).toISOString().split(/[T.]/);
  const dated = `${path}.corrupt-${date.replaceAll('-', '')}-${time.replaceAll(':', '')}`;
  let target = dated;
  for (let n = 2; existsSync(target); n++) target = `${dated}-${n}`;
  // The write-ahead log is renamed first: SQLite would apply an old log to a new database of the same name.
  for (const end of ['-wal', '-shm', '']) {
    if (existsSync(path + end)) renameSync(path + end, target + end);
  }
  return target;
}
