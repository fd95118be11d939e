// Brings a database to the newest schema that this program knows. The database's version is its `PRAGMA user_version`.

import type { Log } from '../../daemon/contract/log.ts';
import type { Sqlite } from './driver.ts';
import { copyBeforeMigration } from './migration-copy.ts';
import { initial } from './migrations/0001-initial.ts';
import { sessionStates } from './migrations/0002-session-states.ts';
import { upkeep } from './migrations/0003-upkeep.ts';
import { shelves } from './migrations/0004-shelves.ts';
import { drainLimits } from './migrations/0005-drain-limits.ts';
import { launchHandles } from './migrations/0006-launch-handles.ts';
import type { Migration } from './migrations/migration.ts';

/** All migrations in order of version. They are TypeScript and not .sql files, so that the bundle contains them. */
export const MIGRATIONS: readonly Migration[] = [
  initial,
  sessionStates,
  upkeep,
  shelves,
  drainLimits,
  launchHandles,
];

/** The database was written by a newer version of this program. Nothing in the database has been changed. */
export class SchemaTooNew extends Error {
  readonly found: number;
  readonly known: number;
  constructor(path: string, found: number, known: number) {
    super(
      `${path} has schema version ${found}, but this qwen-coordinator knows only up to version ${known}: ` +
        'a newer release wrote it. Start that release again, or point --state-dir at another directory',
    );
    this.name = 'SchemaTooNew';
    this.found = found;
    this.known = known;
  }
}

/**
 * Applies the missing migrations, each in one transaction with its version number, so that a kill at any moment leaves a whole
 * version. Copies the database first, unless it is new. Foreign keys must still be off: a migration may rebuild a table to
 * which other tables refer.
 * @returns the schema version afterwards.
 * @throws SchemaTooNew; CopyFailed; Error when a migration leaves a dangling reference (the migration is rolled back).
 */
export function migrate(
  sqlite: Sqlite,
  path: string,
  log: Log,
  migrations: readonly Migration[] = MIGRATIONS,
): number {
  const known = migrations.at(-1)?.version ?? 0;
  const found = Number(sqlite.pragma('user_version', { simple: true }));
  if (found > known) throw new SchemaTooNew(path, found, known);
  if (found > 0 && found < known) {
    const copy = copyBeforeMigration(sqlite, path, known);
    log.info({ copy, from: found, to: known }, 'database copied before its schema changes');
  }
  for (const migration of migrations.filter(({ version }) => version > found)) {
    sqlite.transaction(() => apply(sqlite, migration)).immediate();
    log.info({ version: migration.version, migration: migration.name }, 'database schema migrated');
  }
  return known;
}

function apply(sqlite: Sqlite, { version, name, sql }: Migration): void {
  sqlite.exec(sql);
  const dangling = sqlite.pragma('foreign_key_check') as readonly unknown[];
  if (dangling.length > 0)
    throw new Error(`migration ${version} (${name}) leaves ${dangling.length} dangling references`);
  sqlite.pragma(`user_version = ${version}`);
}
