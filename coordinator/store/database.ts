// The one connection to the state database: its settings, its transactions, and the only place where a refusal by the
// disk becomes an answer for a client. Knows no table.
import { chmodSync, closeSync, existsSync, openSync, statSync } from 'node:fs';
import SqliteConnection, { type Database as Sqlite, type Statement } from 'better-sqlite3';
import { fail } from '../../daemon/contract/errors.ts';
import type { Log } from '../../daemon/contract/log.ts';
import { migrate } from './migrate.ts';

/**
 * How long a statement waits for another process's lock. The wait blocks the event loop, and with the state lock held
 * nobody but a backup or a person's sqlite3 shell can be the cause.
 */
const BUSY_TIMEOUT_MS = 250;

/** What the disk or its neighbours can do to a write, extended codes included by their prefix. */
const STORAGE_CODES = /^SQLITE_(?:FULL|IOERR|READONLY|BUSY|LOCKED|CANTOPEN)(?:_|$)/;

export interface StoreDatabase {
  readonly path: string;
  readonly schemaVersion: number;
  /** A statement with named parameters (`@name`); `Row` is the shape that its columns are aliased to. */
  prepare<Params extends object, Row = unknown>(sql: string): Statement<[Params], Row>;
  /**
   * Runs `work` in one transaction; inside another one, in a savepoint of it. Durable when the outermost returns.
   * @throws ApiError 507 `storage_unavailable` with the SQLite code; whatever else `work` throws, after the roll-back.
   */
  write<T>(work: () => T): T;
  /** As `write`, but a power loss may take the last commits. No crash of the process can. */
  writeRelaxed<T>(work: () => T): T;
  sizes(): { readonly bytes: number; readonly walBytes: number };
  /** Checkpoints and closes. Idempotent. */
  close(): void;
}

/**
 * Opens or creates the database at `path` (mode 0600) and migrates it.
 * @throws SchemaTooNew; Error when the file cannot be opened or is no database.
 */
export function openDatabase(path: string, log: Log): StoreDatabase & { readonly sqlite: Sqlite } {
  makePrivate(path);
  const sqlite = new SqliteConnection(path, { timeout: BUSY_TIMEOUT_MS });
  try {
    sqlite.pragma('journal_mode = WAL');
    sqlite.pragma('synchronous = FULL');
    sqlite.pragma('foreign_keys = OFF');
    const schemaVersion = migrate(sqlite, path, log);
    sqlite.pragma('foreign_keys = ON');
    return { sqlite, path, schemaVersion, ...operations(sqlite, path) };
  } catch (error) {
    sqlite.close();
    throw error;
  }
}

/**
 * SQLite gives -wal and -shm the mode of the main file, so that one has to exist with the right mode before. A file that
 * exists is not opened here: POSIX drops a process's locks on a file when it closes any descriptor of it.
 */
function makePrivate(path: string): void {
  if (!existsSync(path)) closeSync(openSync(path, 'a', 0o600));
  for (const file of [path, `${path}-wal`, `${path}-shm`]) {
    if (existsSync(file)) chmodSync(file, 0o600);
  }
}

function operations(sqlite: Sqlite, path: string): Omit<StoreDatabase, 'path' | 'schemaVersion'> {
  const transaction = sqlite.transaction((work: () => unknown) => work());
  // IMMEDIATE: a transaction that began as a reader could not wait for a lock on its first write.
  const write = <T>(work: () => T): T => explained(() => transaction.immediate(work) as T);
  return {
    prepare: <Params extends object, Row>(sql: string) => sqlite.prepare<[Params], Row>(sql),
    write,
    writeRelaxed: (work) => (sqlite.inTransaction ? write(work) : withoutSync(sqlite, () => write(work))),
    sizes: () => ({ bytes: sizeOf(path) ?? 0, walBytes: sizeOf(`${path}-wal`) ?? 0 }),
    close() {
      if (!sqlite.open) return;
      sqlite.pragma('wal_checkpoint(TRUNCATE)');
      sqlite.close();
    },
  };
}

/**
 * Switching the one connection costs 3 us. A second connection for heartbeats is no faster (0.60 against 0.62 ms for 500
 * rows; FULL takes 0.88) and would wait out the whole busy timeout whenever it is used inside a transaction of the first.
 */
function withoutSync<T>(sqlite: Sqlite, work: () => T): T {
  sqlite.pragma('synchronous = NORMAL');
  try {
    return work();
  } finally {
    sqlite.pragma('synchronous = FULL');
  }
}

function explained<T>(work: () => T): T {
  try {
    return work();
  } catch (error) {
    const code = (error as { code?: unknown }).code;
    if (typeof code !== 'string' || !STORAGE_CODES.test(code)) throw error;
    const { message } = error as Error;
    throw fail('storage_unavailable', `the coordinator cannot write to its database: ${message}`, {
      sqliteCode: code,
    });
  }
}

function sizeOf(path: string): number | undefined {
  return statSync(path, { throwIfNoEntry: false })?.size;
}
