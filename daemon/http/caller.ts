// Finds the live session that a request's path names, and checks the client that sends the request.
import type { Session } from '../session/session.ts';
import type { LiveSessions } from '../sessions/live-sessions.ts';
import { type Call, clientIdOf } from './call.ts';

/** The part of `LiveSessions` in which handlers look a session up. */
export type SessionLookup = Pick<LiveSessions, 'get'>;

/** The live session whose id is the path parameter `:id`. @throws ApiError 404 when no session with this id is live. */
export function requestedSession(call: Call, sessions: SessionLookup): Session {
  return sessions.get(call.params.id ?? '');
}

/**
 * The live session that the path names, and the id of the client, which is registered on that session (undefined when the
 * request names no client).
 * @throws ApiError 400 for a malformed or unregistered client id, 404 when the session is not live.
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
