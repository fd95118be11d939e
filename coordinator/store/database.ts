// The coordinator's one connection to its database: settings, transactions, and the only place where an error of the disk becomes
// an ApiError for clients. Knows no table.
import { chmodSync, closeSync, existsSync, openSync, statSync } from 'node:fs';
import { fail } from '../../daemon/contract/errors.ts';
import type { Log } from '../../daemon/contract/log.ts';
import { openSqlite, type Sqlite, type Statement } from './driver.ts';
import { checkIntegrity, isCorruptionCode, wasClosedInOrder } from './integrity.ts';
import { migrate } from './migrate.ts';

/**
 * How long a statement waits for another process's lock on the database. The wait blocks the event loop. No other coordinator
 * can be the cause (lock.ts), only a backup or a person's sqlite3 shell.
 */
const BUSY_TIMEOUT_MS = 250;

/** The same after a write that waited in vain: a lock that lasts for seconds must not cost every write the full wait. */
const BUSY_AGAIN_TIMEOUT_MS = 10;

/** SQLite codes, extended ones included, of statements that failed because of the disk or of another process. */
const STORAGE_CODES = /^SQLITE_(?:FULL|IOERR|READONLY|BUSY|LOCKED|CANTOPEN|CORRUPT|NOTADB|PROTOCOL)(?:_|$)/;

/** Size above which a checkpoint also truncates the write-ahead log, unless a reader is in the way; a smaller log is reused. */
const LARGE_WAL_BYTES = 16 * 1024 * 1024;

/** A failure of a statement because of the disk or of another process, in SQLite's code and words. */
export interface Trouble {
  readonly code: string;
  readonly message: string;
}

export type Rows<Params extends object, Row> = Pick<Statement<[Params], Row>, 'get' | 'all' | 'run'>;

export interface StoreDatabase {
  readonly path: string;
  readonly schemaVersion: number;
  /**
   * Prepares a statement with named parameters (`@name`); its columns are aliased to the members of `Row`.
   * Each run of it throws ApiError 507 `storage_unavailable` with the SQLite code when the disk refuses.
   */
  prepare<Params extends object, Row = unknown>(sql: string): Rows<Params, Row>;
  /**
   * Runs `work` in a transaction; a nested call runs in a savepoint. Durable when the outermost call returns.
   * @throws ApiError 507 `storage_unavailable` with the SQLite code; else what `work` throws. All is rolled back then.
   */
  write<T>(work: () => T): T;
  /** As `write`, without waiting for the disk: a power loss may undo the last commits. A crash of the process cannot. */
  writeRelaxed<T>(work: () => T): T;
  /** Why the last write failed; undefined when it succeeded. A corruption is kept until the coordinator starts again. */
  trouble(): Trouble | undefined;
  /** Moves the write-ahead log into the database file, without waiting for other connections. */
  checkpoint(): void;
  /** Copies the database, while it is in use, into the existing `file`. @throws Error when `file` cannot be written. */
  copyTo(file: string): Promise<void>;
  sizes(): { readonly bytes: number; readonly walBytes: number };
  /** Checkpoints and closes the connection. Idempotent. When the checkpoint fails, the log stays for the next start. */
  close(): void;
}

/**
 * Opens or creates the database at `path` (mode 0600), checks its integrity and migrates its schema.
 * @throws SchemaTooNew; CopyFailed; DatabaseDamaged; Error when the file cannot be opened.
 */
export function openDatabase(path: string, log: Log): StoreDatabase & { readonly sqlite: Sqlite } {
  makePrivate(path);
  const depth = wasClosedInOrder(path) ? 'quick' : 'full';
  const sqlite = openSqlite(path, { timeout: BUSY_TIMEOUT_MS });
  try {
    checkIntegrity(sqlite, path, depth);
    sqlite.pragma('journal_mode = WAL');
    sqlite.pragma('synchronous = FULL');
    // Backups copy whole pages, and a secret that was replaced must not stay readable in the free space of a page.
    sqlite.pragma('secure_delete = ON');
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
 * Gives the database and its -wal and -shm files mode 0600, before SQLite opens them: SQLite gives a new -wal or -shm the mode
 * of the main file. An existing file is not opened here: POSIX drops a process's locks on a file when the process closes any
 * descriptor of it.
 */
function makePrivate(path: string): void {
  if (!existsSync(path)) closeSync(openSync(path, 'a', 0o600));
  for (const file of [path, `${path}-wal`, `${path}-shm`]) {
    if (existsSync(file)) chmodSync(file, 0o600);
  }
}

function operations(sqlite: Sqlite, path: string): Omit<StoreDatabase, 'path' | 'schemaVersion'> {
  const disk = new Disk(sqlite);
  const transaction = sqlite.transaction((work: () => unknown) => work());
  // IMMEDIATE takes the write lock first: a transaction that began as a reader could not wait for the lock at its first write.
  const write = <T>(work: () => T): T => {
    const isOutermost = !sqlite.inTransaction;
    const result = disk.explained(() => transaction.immediate(work) as T);
    if (isOutermost) disk.succeeded();
    return result;
  };
  const sizes = () => ({ bytes: sizeOf(path) ?? 0, walBytes: sizeOf(`${path}-wal`) ?? 0 });
  return {
    prepare: <Params extends object, Row>(sql: string) =>
      explainedRows(disk, sqlite.prepare<[Params], Row>(sql)),
    write,
    writeRelaxed: (work) => (sqlite.inTransaction ? write(work) : withoutSync(sqlite, () => write(work))),
    trouble: () => disk.trouble,
    sizes,
    checkpoint: () => disk.explained(() => checkpoint(sqlite, sizes().walBytes)),
    async copyTo(file) {
      await sqlite.backup(file);
    },
    close() {
      if (!sqlite.open) return;
      try {
        checkpoint(sqlite, Number.POSITIVE_INFINITY);
      } catch {
        // A full or damaged disk: the write-ahead log stays beside the database, and the next start reads both.
      }
      sqlite.close();
    },
  };
}

/** Turns errors of the disk into ApiErrors, and keeps the last of them as `trouble` until a write succeeds. */
class Disk {
  readonly #sqlite: Sqlite;
  trouble: Trouble | undefined;

  constructor(sqlite: Sqlite) {
    this.#sqlite = sqlite;
  }

  explained<T>(work: () => T): T {
    try {
      return work();
    } catch (error) {
      const code = (error as { code?: unknown }).code;
      if (typeof code !== 'string' || !STORAGE_CODES.test(code)) throw error;
      const { message } = error as Error;
      this.#failed({ code, message });
      throw fail('storage_unavailable', `The coordinator cannot use its database: ${message}`, {
        sqliteCode: code,
      });
    }
  }

  succeeded(): void {
    if (this.trouble === undefined || isCorruptionCode(this.trouble.code)) return;
    if (this.#isBusy) this.#sqlite.pragma(`busy_timeout = ${BUSY_TIMEOUT_MS}`);
    this.trouble = undefined;
  }

  #failed(trouble: Trouble): void {
    if (this.trouble !== undefined && isCorruptionCode(this.trouble.code)) return;
    this.trouble = trouble;
    if (this.#isBusy) this.#sqlite.pragma(`busy_timeout = ${BUSY_AGAIN_TIMEOUT_MS}`);
  }

  get #isBusy(): boolean {
    return this.trouble?.code.startsWith('SQLITE_BUSY') ?? false;
  }
}

function explainedRows<Params extends object, Row>(
  disk: Disk,
  statement: Statement<[Params], Row>,
): Rows<Params, Row> {
  return {
    get: (params) => disk.explained(() => statement.get(params)),
    all: (params) => disk.explained(() => statement.all(params)),
    run: (params) => disk.explained(() => statement.run(params)),
  };
}

function checkpoint(sqlite: Sqlite, walBytes: number): void {
  if (walBytes === 0 || sqlite.inTransaction) return;
  if (walBytes <= LARGE_WAL_BYTES) {
    sqlite.pragma('wal_checkpoint(PASSIVE)');
    return;
  }
  const before = Number(sqlite.pragma('busy_timeout', { simple: true }));
  // Without waiting: a reader in another process would block the checkpoint and the event loop, and the next upkeep tries again.
  sqlite.pragma('busy_timeout = 0');
  try {
    sqlite.pragma('wal_checkpoint(TRUNCATE)');
  } finally {
    sqlite.pragma(`busy_timeout = ${before}`);
  }
}

/**
 * Runs `work` with `synchronous = NORMAL`. Switching the connection costs 3 us. A second connection for heartbeats is no faster
 * (0.60 against 0.62 ms for 500 rows; FULL takes 0.88) and would wait out the busy timeout inside a transaction of the first.
 */
function withoutSync<T>(sqlite: Sqlite, work: () => T): T {
  sqlite.pragma('synchronous = NORMAL');
  try {
    return work();
  } finally {
    sqlite.pragma('synchronous = FULL');
  }
}

function sizeOf(path: string): number | undefined {
  return statSync(path, { throwIfNoEntry: false })?.size;
}
