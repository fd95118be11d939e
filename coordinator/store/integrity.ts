// Whether a database file is sound. A file that is not is set aside whole, never repaired or removed.
import { existsSync, renameSync, statSync } from 'node:fs';
import { openSqlite, type Sqlite } from './driver.ts';

/** Problems that are listed; a torn page can cause thousands. */
const MAX_PROBLEMS = 10;

/** The file is no sound database. Nothing in the file has been changed. */
export class DatabaseDamaged extends Error {
  readonly problems: readonly string[];
  constructor(path: string, problems: readonly string[]) {
    super(`${path} is damaged: ${problems.join('; ')}`);
    this.name = 'DatabaseDamaged';
    this.problems = problems;
  }
}

/** Whether SQLite's code says that the file's content is wrong, as opposed to the way to the file. */
export function isCorruptionCode(code: unknown): boolean {
  return typeof code === 'string' && /^SQLITE_(?:CORRUPT|NOTADB)(?:_|$)/.test(code);
}

/** The last connection that closes in order leaves no write-ahead log. Ask before opening: opening makes a new log. */
export function wasClosedInOrder(path: string): boolean {
  return (statSync(`${path}-wal`, { throwIfNoEntry: false })?.size ?? 0) === 0;
}

/**
 * `quick` reads every page; `full` also compares every index with its table, about four times as long (100,000 sessions:
 * see docs/adr/0005-a-damaged-database.md). A quick check that finds something is followed by a full one, which says more.
 * @throws DatabaseDamaged; Error when the file cannot be read.
 */
export function checkIntegrity(sqlite: Sqlite, path: string, depth: 'quick' | 'full'): void {
  let found = problems(sqlite, depth);
  if (found.length > 0 && depth === 'quick') found = [...new Set([...problems(sqlite, 'full'), ...found])];
  if (found.length > 0) throw new DatabaseDamaged(path, found.slice(0, MAX_PROBLEMS));
}

/** Checks a file that no process has open, in full. @throws as `checkIntegrity`. */
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
 * Renames the database with its log to `<path>.corrupt-<YYYYMMDD-HHMMSS>` (UTC). Close every connection first.
 * @returns the new path of the main file.
 */
export function setAside(path: string, nowMs: number): string {
  const [date = '', time = ''] = new Date(nowMs).toISOString().split(/[T.]/);
  const dated = `${path}.corrupt-${date.replaceAll('-', '')}-${time.replaceAll(':', '')}`;
  let target = dated;
  for (let n = 2; existsSync(target); n++) target = `${dated}-${n}`;
  // The log goes first: a new database beside an old log would take it for its own.
  for (const end of ['-wal', '-shm', '']) {
    if (existsSync(path + end)) renameSync(path + end, target + end);
  }
  return target;
}
