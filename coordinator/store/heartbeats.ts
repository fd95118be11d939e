// The table of heartbeats: when each client was last seen. Callers collect heartbeats and write them in batches, so this is the
// only table that may lose its last second.
import type { StoreDatabase } from './database.ts';
import type { Heartbeats, SeenEntry } from './store.ts';

/** Client id in the row for heartbeats without client id, because a key column cannot be null. */
const ANONYMOUS = '';

/**
 * Sorts entries as the table's key, the order in which `flush` writes them. The entries that `flush` leaves are the last of this
 * order, so a caller that has sorted them goes on with `sorted.slice(-left)`.
 */
function inKeyOrder(entries: readonly SeenEntry[]): SeenEntry[] {
  return [...entries].sort(
    (a, b) => compare(a.sessionId, b.sessionId) || compare(a.clientId ?? ANONYMOUS, b.clientId ?? ANONYMOUS),
  );
}

export function createHeartbeats(database: StoreDatabase): Heartbeats {
  // Only for live sessions: an entry can be older than its session's end, and its row would never be deleted. The look-up costs
  // 0.7 us a row.
  const upsert = database.prepare<{ sessionId: string; clientId: string; atMs: number }>(
    `INSERT INTO heartbeats (session_id, client_id, at_ms)
     SELECT @sessionId, @clientId, @atMs
     WHERE EXISTS (SELECT 1 FROM sessions WHERE session_id = @sessionId AND state = 'live')
     ON CONFLICT (session_id, client_id) DO UPDATE SET at_ms = excluded.at_ms WHERE excluded.at_ms > at_ms`,
  );
  return {
    flush(entries, maxRows) {
      const batch = inKeyOrder(entries).slice(0, maxRows);
      if (batch.length === 0) return entries.length;
      database.writeRelaxed(() => {
        for (const { sessionId, clientId, atMs } of batch)
          upsert.run({ sessionId, clientId: clientId ?? ANONYMOUS, atMs });
      });
      return entries.length - batch.length;
    },
  };
}

function compare(a: string, b: string): number {
  if (a === b) return 0;
  return a < b ? -1 : 1;
}
