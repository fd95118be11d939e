// Reads the database for commands of operators, whether or not a coordinator has it open. Changes nothing in it.
import { existsSync } from 'node:fs';
import { openSqlite, type Sqlite } from './driver.ts';
import { MIGRATIONS } from './migrate.ts';
import { HANDLE_FROM_COLUMNS, launchHandles } from './migrations/0006-launch-handles.ts';
import type { DaemonRow } from './store.ts';

export type InspectedDaemon = Pick<DaemonRow, 'incarnation' | 'workspaceId' | 'state' | 'launchHandle'>;

/** An open database and what its check found. */
export interface DatabaseInspection {
  /** What is wrong with the database, as sentences; empty when nothing is. */
  readonly problems: readonly string[];
  readonly schemaVersion: number;
  /** The row of that incarnation. Like `unended`, finds no rows in a database with problems. */
  daemon(incarnation: string): InspectedDaemon | undefined;
  unended(): readonly InspectedDaemon[];
  close(): void;
}

/** The columns of an `InspectedDaemon` in SQL, for a database of that schema version. */
function columnsOf(schemaVersion: number): string {
  const handle = schemaVersion < launchHandles.version ? HANDLE_FROM_COLUMNS : 'launch_handle';
  return `incarnation, workspace_id AS workspaceId, state, ${handle} AS launchHandle`;
}

/**
 * Opens the database read-only and checks its integrity, which reads every page.
 * @returns undefined where there is no file.
 * @throws Error when the file is no database or cannot be read.
 */
export function inspectDatabase(path: string): DatabaseInspection | undefined {
  if (!existsSync(path)) return undefined;
  const sqlite = openSqlite(path, { readonly: true, fileMustExist: true, timeout: 1000 });
  try {
    return inspection(sqlite);
  } catch (error) {
    sqlite.close();
    throw error;
  }
}

function inspection(sqlite: Sqlite): DatabaseInspection {
  const schemaVersion = Number(sqlite.pragma('user_version', { simple: true }));
  const problems = problemsOf(sqlite, schemaVersion);
  // A schema of another version may not have the table `daemons`, and rows of a damaged database prove nothing.
  const isUsable = problems.length === 0 && schemaVersion > 0;
  const columns = columnsOf(schemaVersion);
  const one = isUsable
    ? sqlite.prepare<[string], InspectedDaemon>(`SELECT ${columns} FROM daemons WHERE incarnation = ?`)
    : undefined;
  const unended = isUsable
    ? sqlite.prepare<[], InspectedDaemon>(`SELECT ${columns} FROM daemons WHERE state <> 'ended'`)
    : undefined;
  return {
    problems,
    schemaVersion,
    daemon: (incarnation) => one?.get(incarnation),
    unended: () => unended?.all() ?? [],
    close: () => sqlite.close(),
  };
}

function problemsOf(sqlite: Sqlite, schemaVersion: number): string[] {
  const rows = sqlite.pragma('quick_check(5)') as readonly { readonly quick_check: string }[];
  const found = rows.map((row) => row.quick_check).filter((text) => text !== 'ok');
  if (schemaVersion > newestVersion())
    found.push(`it has schema version ${schemaVersion}, this program knows up to ${newestVersion()}`);
  return found;
}

function newestVersion(): number {
  return MIGRATIONS.at(-1)?.version ?? 0;
}
