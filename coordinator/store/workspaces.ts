// The table of registered workspaces. Removing a workspace deletes only its row here: rows of its daemons and sessions stay.
import type { StoreDatabase } from './database.ts';
import type { EventTable } from './events.ts';
import type { WorkspaceRow, WorkspaceSettings, Workspaces } from './store.ts';

const COLUMNS = 'id, path, display_name AS displayName, origin, created_at_ms AS createdAtMs';

export function createWorkspaces(database: StoreDatabase, events: EventTable): Workspaces {
  const find = database.prepare<{ id: string }, WorkspaceRow>(
    `SELECT ${COLUMNS} FROM workspaces WHERE id = @id`,
  );
  const upsert = database.prepare<WorkspaceRow>(
    `INSERT INTO workspaces (id, path, display_name, origin, created_at_ms)
     VALUES (@id, @path, @displayName, @origin, @createdAtMs)
     ON CONFLICT (id) DO UPDATE SET display_name = excluded.display_name, origin = excluded.origin`,
  );
  const list = database.prepare<object, WorkspaceRow>(
    `SELECT ${COLUMNS} FROM workspaces ORDER BY created_at_ms, id`,
  );
  const remove = database.prepare<{ id: string }>('DELETE FROM workspaces WHERE id = @id');
  const readSettings = database.prepare<
    { id: string },
    Omit<WorkspaceSettings, 'isPinned'> & { isPinned: 0 | 1 }
  >(
    `SELECT idle_timeout_ms AS idleTimeoutMs, pinned AS isPinned, hold_reason AS holdReason,
       hold_drain_ms AS holdDrainMs
     FROM workspaces WHERE id = @id`,
  );
  const writeSettings = database.prepare<Record<string, unknown>>(
    `UPDATE workspaces SET idle_timeout_ms = @idleTimeoutMs, pinned = @isPinned, hold_reason = @holdReason,
       hold_drain_ms = @holdDrainMs
     WHERE id = @id`,
  );

  function settings(id: string): WorkspaceSettings {
    const stored = readSettings.get({ id });
    if (stored === undefined)
      return { idleTimeoutMs: null, isPinned: false, holdReason: null, holdDrainMs: null };
    return { ...stored, isPinned: stored.isPinned === 1 };
  }

  return {
    upsert: (row) =>
      database.write(() => {
        const known = find.get({ id: row.id });
        if (known?.origin === row.origin && known.displayName === row.displayName) return;
        upsert.run(row);
        const { id: workspaceId, path, origin, displayName } = row;
        const kind = known === undefined ? 'workspace_added' : 'workspace_changed';
        events.add({ kind, workspaceId, detail: { path, origin, displayName } });
      }),
    list: () => list.all({}),
    settings,
    change: (id, change) =>
      database.write(() => {
        const wanted = { ...settings(id), ...change };
        writeSettings.run({ ...wanted, id, isPinned: wanted.isPinned ? 1 : 0 });
        events.add({ kind: 'workspace_set', workspaceId: id, detail: { ...change } });
      }),
    remove: (id) =>
      database.write(() => {
        if (remove.run({ id }).changes > 0) events.add({ kind: 'workspace_removed', workspaceId: id });
      }),
  };
}
