// Stores a session from the daemon's answer that made it live (to a create, load or attach), when the daemon's feed is down and
// cannot report it. The next snapshot of the feed corrects what the answer could not show.
import type { FeedClient, FeedSession } from '../../../daemon/contract/feed.ts';
import type { Store } from '../../store/store.ts';
import type { SessionRecorder, Source } from './session-recorder.ts';

/** A session as the daemon's answer to a create, load or attach shows it. */
export interface AnsweredSession extends Source {
  /** Whether the request was an attach: the session was live before, and its client is added to the clients in the store. */
  readonly isAttached: boolean;
  readonly session: FeedSession;
}

/** Stores the session and adds it to the index of sessions. @throws ApiError 507 when the store refuses. */
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

/** The clients of both lists. Of a client that is in both, the registrations are added up. */
function merged(known: readonly FeedClient[], added: readonly FeedClient[]): readonly FeedClient[] {
  const byId = new Map(known.map((client) => [client.clientId, client]));
  for (const client of added) {
    const count = (byId.get(client.clientId)?.count ?? 0) + client.count;
    byId.set(client.clientId, { ...client, count });
  }
  return [...byId.values()];
}
