// Which session a request is about, and which client sends it.
import type { Session } from '../session/session.ts';
import type { LiveSessions } from '../sessions/live-sessions.ts';
import { type Call, clientIdOf } from './call.ts';

/** The register of live sessions, as far as handlers look sessions up in it. */
export type SessionLookup = Pick<LiveSessions, 'get'>;

/** The live session that the path names as `:id`. @throws ApiError 404 */
export function requestedSession(call: Call, sessions: SessionLookup): Session {
  return sessions.get(call.params.id ?? '');
}

/**
 * The live session of the request and its client, who is registered on it (undefined: an anonymous client).
 * @throws ApiError 400 for a malformed or unregistered client id, 404 for an unknown session.
 */
export function callerOf(
  call: Call,
  sessions: SessionLookup,
): { readonly session: Session; readonly clientId: string | undefined } {
  const clientId = clientIdOf(call);
  const session = requestedSession(call, sessions);
  session.checkClient(clientId);
  return { session, clientId };
}
