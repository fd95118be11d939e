// What a request for a session gets before its client is registered.
import type { Session } from '../session/session.ts';

/** A session that was made for one request. */
export interface SpawnedSession {
  readonly session: Session;
  /** Whether the requested model was taken; undefined when the request named none. */
  readonly isModelApplied: boolean | undefined;
}

/** A live session that a request was given. */
export interface ObtainedSession extends SpawnedSession {
  /** Whether the session was there before; false: it was made for this request. */
  readonly isAttached: boolean;
}
