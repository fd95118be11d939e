// Records a session from the answer that made it live, for the moments in which the daemon's feed is down. The feed's next snapshot
// corrects what the answer could not show.
import type { FeedClient, FeedSession } from '../../../daemon/contract/feed.ts';
import type { Store } from '../../store/store.ts';
import type { SessionRecorder, Source } from './session-recorder.ts';

/** A session as the answer shows it that made it live. */
export interface AnsweredSession extends Source {
  /** An attach: the session was live before, and the answer's client is added to the clients of its row. */
  readonly isAttached: boolean;
  readonly session: FeedSession;
}

/** Stores and indexes the session. @throws ApiError 507 when the store refuses. */
export function recordAnswer(
  deps: { readonly store: Pick<Store, 'sessions'>; readonly recorder: SessionRecorder },
  { isAttached, session, ...source }: AnsweredSession,
): void {
  const row = isAttached ? deps.store.sessions.get(session.sessionId) : undefined;
  if (row === undefined) {
    deps.recorder.recordSession(source, session);
    return;
  }
  const clients = merged(deps.store.sessions.clients(session.sessionId), session.clients);
  deps.recorder.recordSession(source, {
    ...session,
    createdAtMs: row.createdAtMs,
    lastSeenAtMs: Math.max(row.lastSeenAtMs, session.lastSeenAtMs),
    isDefault: row.isDefault,
    clients,
  });
}

/** The clients of both lists; the counts of a client in both are added. */
function merged(known: readonly FeedClient[], added: readonly FeedClient[]): readonly FeedClient[] {
  const byId = new Map(known.map((client) => [client.clientId, client]));
  for (const client of added) {
    const count = (byId.get(client.clientId)?.count ?? 0) + client.count;
    byId.set(client.clientId, { ...client, count });
  }
  return [...byId.values()];
}
