// When each client was last seen. Many writes, which the caller coalesces; the only data whose last second may be lost.
import type { StoreDatabase } from './database.ts';
import type { Heartbeats, SeenEntry } from './store.ts';

/** Client id of the anonymous watermark: a key column cannot be null. */
const ANONYMOUS = '';

/**
 * The order in which `flush` writes. What `flush` says is left are the last entries of this order, so a caller that
 * sorts once continues with `sorted.slice(-left)`.
 */
function inKeyOrder(entries: readonly SeenEntry[]): SeenEntry[] {
  return [...entries].sort(
    (a, b) => compare(a.sessionId, b.sessionId) || compare(a.clientId ?? ANONYMOUS, b.clientId ?? ANONYMOUS),
  );
}

export function createHeartbeats(database: StoreDatabase): Heartbeats {
  // A batch can be older than its session's end; the look-up costs 0.7 us a row and leaves nothing behind for ever.
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
