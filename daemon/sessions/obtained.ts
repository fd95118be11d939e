// The session that a create or a restore gets, before a client is registered on it.
import type { Session } from '../session/session.ts';

/** A session that was made for one request. */
export interface SpawnedSession {
  readonly session: Session;
  /** Whether the agent took the requested model; undefined when the request named none. */
  readonly isModelApplied: boolean | undefined;
}

/** The live session for a request: one that was live already, or one that was made for the request. */
export interface ObtainedSession extends SpawnedSession {
  /** True: the session was live before the request. False: it was made for the request. */
  readonly isAttached: boolean;
}
