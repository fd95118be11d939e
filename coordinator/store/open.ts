// Opens the store: one database and its table objects. A damaged database is set aside and a new one created.
import type { Clock } from '../../daemon/contract/clock.ts';
import type { Log } from '../../daemon/contract/log.ts';
import { backupTo } from './backup.ts';
import { createDaemons } from './daemons.ts';
import { openDatabase, type StoreDatabase } from './database.ts';
import { createEvents } from './events.ts';
import { createHeartbeats } from './heartbeats.ts';
import { DatabaseDamaged, isCorruptionCode, setAside } from './integrity.ts';
import { removeOldCopies } from './migration-copy.ts';
import { createPrompts } from './prompts.ts';
import { createRetention, DEFAULT_RETENTION, type RetentionSettings } from './retention.ts';
import { createSessions } from './sessions.ts';
import type { Store } from './store.ts';
import { troubleWords } from './trouble-words.ts';
import { createWorkspaces } from './workspaces.ts';

export interface OpenStoreOptions {
  /** The database file. Its directory must exist. */
  readonly path: string;
  readonly clock: Clock;
  readonly log: Log;
  readonly retention?: Partial<RetentionSettings>;
}

/**
 * Opens or creates the store. Take the state lock (`lock.ts`) first, because the store must be the only writer. A damaged
 * database is set aside under a dated name and the store begins empty; `facts().warnings` says so.
 * @throws SchemaTooNew; CopyFailed; ApiError 507 when the disk refuses; Error when the file cannot be opened or set aside.
 */
export function openStore(options: OpenStoreOptions): Store {
  const retention = { ...DEFAULT_RETENTION, ...options.retention };
  try {
    return openOnce(options, retention, []);
  } catch (error) {
    const problems = damageOf(error);
    if (problems === undefined) throw error;
    return beginAnew(options, retention, problems);
  }
}

function openOnce(
  { path, clock, log }: OpenStoreOptions,
  retention: RetentionSettings,
  warnings: readonly string[],
): Store {
  const database = openDatabase(path, log);
  try {
    return storeOn(database, clock, retention, warnings);
  } catch (error) {
    database.close();
    throw error;
  }
}

/** The problems in a damaged database file; undefined when the error is of another kind. */
function damageOf(error: unknown): readonly string[] | undefined {
  if (error instanceof DatabaseDamaged) return error.problems;
  const { code, context, message } = error as {
    readonly code?: unknown;
    readonly context?: { readonly sqliteCode?: unknown };
    readonly message?: string;
  };
  return isCorruptionCode(code) || isCorruptionCode(context?.sqliteCode) ? [String(message)] : undefined;
}

function beginAnew(
  options: OpenStoreOptions,
  retention: RetentionSettings,
  problems: readonly string[],
): Store {
  const { path, clock, log } = options;
  const asideAs = setAside(path, clock.nowMs());
  const warning =
    `The database was damaged (${problems[0]}) and was set aside as ${asideAs}; a new one was begun. Running daemons are ` +
    'taken over with their sessions; sessions that no daemon had, and the history, are only in the old file.';
  log.error({ path, setAside: asideAs, problems }, warning);
  const store = openOnce(options, retention, [warning]);
  store.events.append({ kind: 'database_rebuilt', detail: { setAside: asideAs, problems } });
  return store;
}

/** The store over an open database. @param warnings what `facts` shows as long as the store is open. */
export function storeOn(
  database: StoreDatabase,
  clock: Clock,
  retention: RetentionSettings,
  warnings: readonly string[] = [],
): Store {
  const events = createEvents(database, clock, retention.maxEvents);
  const prompts = createPrompts(database, events);
  const sessions = createSessions(database, events, prompts);
  const forget = createRetention(database, clock, retention);
  return {
    workspaces: createWorkspaces(database, events),
    daemons: createDaemons(database, events, sessions),
    sessions,
    prompts,
    heartbeats: createHeartbeats(database),
    events,
    transaction: (work) => database.write(work),
    async upkeep() {
      await forget.run();
      removeOldCopies(database.path, retention.maxAgeMs, clock.nowMs());
      database.checkpoint();
    },
    backup: (file) => backupTo(database, file),
    facts: () => ({
      path: database.path,
      ...database.sizes(),
      schemaVersion: database.schemaVersion,
      sessions: known(() => sessions.countLive()),
      events: known(() => events.count()),
      warnings: [...warnings, ...troubleWords(database.path, database.trouble())],
    }),
    close: () => database.close(),
  };
}

/** What `read` counts; null when it throws, because `facts` is called when something is wrong and must not fail for one table. */
function known(read: () => number): number | null {
  try {
    return read();
  } catch {
    // The database keeps the error as its `trouble`, and `warnings` say so.
    return null;
  }
}
