// A look into a coordinator's database while it runs, read-only, as a backup tool would take it.
import { join } from 'node:path';
import { openSqlite } from '../../coordinator/store/driver.ts';

export type DatabaseRow = Readonly<Record<string, unknown>>;

/** The rows of one query on a connection of its own. */
export function rowsOf(stateDir: string, sql: string, ...values: readonly unknown[]): readonly DatabaseRow[] {
  const db = openSqlite(join(stateDir, 'coordinator.db'), { readonly: true });
  try {
    return db.prepare(sql).all(...values) as DatabaseRow[];
  } finally {
    db.close();
  }
}
