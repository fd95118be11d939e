// The table of events, which `why` reads. The other tables add their event rows in the transaction of the change itself.
import type { Clock } from '../../daemon/contract/clock.ts';
import type { StoreDatabase } from './database.ts';
import type { EventRow, Events, NewEvent } from './store.ts';

/** Inserts between two prunings: deleting 256 rows at once costs under a millisecond, one at every insert doubles its cost. */
const PRUNE_EVERY = 256;

/** Most rows that one pruning deletes. When the limit was lowered, `Store.upkeep` deletes the rest. */
const PRUNE_ROWS = 2 * PRUNE_EVERY;

export interface EventTable extends Events {
  /** Inserts the event row in the transaction that the caller has open. */
  add(event: NewEvent): void;
  count(): number;
}

type StoredEvent = Omit<EventRow, 'detail'> & { readonly detail: string };

/**
 * The table of events. Inserts prune the events of sessions and prompts to the newest `keep`, and up to 255 more. Events of other
 * kinds are deleted only by `Store.upkeep`: a busy hour must not push the death of a daemon out of the table.
 */
export function createEvents(database: StoreDatabase, clock: Clock, keep: number): EventTable {
  const insert = database.prepare<Record<string, unknown>>(
    `INSERT INTO events (at_ms, kind, workspace_id, incarnation, session_id, detail)
     VALUES (@atMs, @kind, @workspaceId, @incarnation, @sessionId, @detail)`,
  );
  const columns = `SELECT id, at_ms AS atMs, kind, workspace_id AS workspaceId, incarnation,
     session_id AS sessionId, detail FROM events`;
  const newest = database.prepare<{ limit: number }, StoredEvent>(`${columns} ORDER BY id DESC LIMIT @limit`);
  const newestOf = database.prepare<{ limit: number; workspaceId: string }, StoredEvent>(
    `${columns} WHERE workspace_id = @workspaceId ORDER BY id DESC LIMIT @limit`,
  );
  const storyOf = database.prepare<{ limit: number; workspaceId: string }, StoredEvent>(
    `${columns} WHERE workspace_id = @workspaceId AND is_routine = 0 ORDER BY id DESC LIMIT @limit`,
  );
  const count = database.prepare<object, { total: number }>('SELECT count(*) AS total FROM events');
  const prune = database.prepare<{ keep: number; rows: number }>(
    `DELETE FROM events WHERE id IN
       (SELECT id FROM events WHERE is_routine = 1 AND id <= (SELECT max(id) FROM events) - @keep
        ORDER BY id LIMIT @rows)`,
  );

  function add(event: NewEvent): void {
    const { lastInsertRowid } = insert.run({
      atMs: clock.nowMs(),
      kind: event.kind,
      workspaceId: event.workspaceId ?? null,
      incarnation: event.incarnation ?? null,
      sessionId: event.sessionId ?? null,
      detail: JSON.stringify(event.detail ?? {}),
    });
    if (Number(lastInsertRowid) % PRUNE_EVERY === 0) prune.run({ keep, rows: PRUNE_ROWS });
  }

  return {
    add,
    append: (event) => database.write(() => add(event)),
    recent({ workspaceId, limit }) {
      const rows = workspaceId === undefined ? newest.all({ limit }) : newestOf.all({ workspaceId, limit });
      return rows.map(toRow);
    },
    story: (workspaceId, limit) => storyOf.all({ workspaceId, limit }).map(toRow),
    count: () => count.get({})?.total ?? 0,
  };
}

function toRow(stored: StoredEvent): EventRow {
  return { ...stored, detail: JSON.parse(stored.detail) as EventRow['detail'] };
}
