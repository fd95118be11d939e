// The one connection to the state database: its settings, its transactions, and the only file where a refusal by the
// disk becomes an answer for a client. Knows no table.
import { chmodSync, closeSync, existsSync, openSync, statSync } from 'node:fs';
import { fail } from '../../daemon/contract/errors.ts';
import type { Log } from '../../daemon/contract/log.ts';
import { openSqlite, type Sqlite, type Statement } from './driver.ts';
import { checkIntegrity, isCorruptionCode, wasClosedInOrder } from './integrity.ts';
import { migrate } from './migrate.ts';

/**
 * How long a statement waits for another process's lock. The wait blocks the event loop; while this process has the state lock,
 * only a backup or a person's sqlite3 shell can be the cause.
 */
const BUSY_TIMEOUT_MS = 250;

/** The wait after one that was in vain: a lock that lasts for seconds must not cost every write the full wait. */
const BUSY_AGAIN_TIMEOUT_MS = 10;

/** Codes of statements that failed because of the disk or of another process, with their extended codes. */
const STORAGE_CODES = /^SQLITE_(?:FULL|IOERR|READONLY|BUSY|LOCKED|CANTOPEN|CORRUPT|NOTADB|PROTOCOL)(?:_|$)/;

/** A checkpoint of a larger log also empties its file, where no reader is in the way; a smaller file is written over. */
const LARGE_WAL_BYTES = 16 * 1024 * 1024;

/** Why the last statement that touched the disk failed. */
export interface Trouble {
  readonly code: string;
  readonly message: string;
}

export type Rows<Params extends object, Row> = Pick<Statement<[Params], Row>, 'get' | 'all' | 'run'>;

export interface StoreDatabase {
  readonly path: string;
  readonly schemaVersion: number;
  /**
   * A statement with named parameters (`@name`); `Row` is the shape that its columns are aliased to.
   * Its calls throw ApiError 507 `storage_unavailable` with the SQLite code where the disk refuses.
   */
  prepare<Params extends object, Row = unknown>(sql: string): Rows<Params, Row>;
  /**
   * Runs `work` in one transaction; inside another one, in a savepoint of it. Durable when the outermost returns.
   * @throws ApiError 507 `storage_unavailable` with the SQLite code; whatever else `work` throws, after the roll-back.
   */
  write<T>(work: () => T): T;
  /** As `write`, but a power loss may take the last commits. A crash of the process cannot. */
  writeRelaxed<T>(work: () => T): T;
  /** Why the last write failed; undefined when it succeeded. Corruption does not heal: it stays until the next start. */
  trouble(): Trouble | undefined;
  /** Moves the write-ahead log into the database, without waiting for other connections. */
  checkpoint(): void;
  /** Copies the database page by page into an existing file, while it is in use. @throws Error when that file cannot be written. */
  copyTo(file: string): Promise<void>;
  sizes(): { readonly bytes: number; readonly walBytes: number };
  /** Checkpoints and closes. Idempotent; a disk that refuses the checkpoint leaves the log for the next start. */
  close(): void;
}

/**
 * Opens or creates the database at `path` (mode 0600), checks it and migrates it.
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
    // A secret that was replaced must not stay readable in the page's free space: backups copy whole pages.
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
 * SQLite gives -wal and -shm the mode of the main file, so the main file has to exist with the right mode first. A file that
 * exists is not opened here: POSIX drops a process's locks on a file when it closes any descriptor of the file.
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
  // IMMEDIATE: a transaction that began as a reader could not wait for a lock on its first write.
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
        // A full or damaged disk: the log stays beside the database, and the next start reads both.
      }
      sqlite.close();
    },
  };
}

/** The last refusal of the disk, as this connection met it. */
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
  // A reader in another process would block the checkpoint, and with it the event loop; the next attempt comes soon.
  sqlite.pragma('busy_timeout = 0');
  try {
    sqlite.pragma('wal_checkpoint(TRUNCATE)');
  } finally {
    sqlite.pragma(`busy_timeout = ${before}`);
  }
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

function sizeOf(path: string): number | undefined {
  return statSync(path, { throwIfNoEntry: false })?.size;
}
