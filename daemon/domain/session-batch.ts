// Requests that archive, unarchive or delete several sessions: the session ids of the body, and the lists of the answer.
import { fail } from '../contract/errors.ts';
import type { JsonObject } from '../contract/json-body.ts';

const MAX_SESSIONS = 100;

/** The distinct session ids of a batch's body, in the order given. @throws ApiError 400 `invalid_request`. */
export function parseSessionIds({ sessionIds }: JsonObject): readonly string[] {
  const isList =
    Array.isArray(sessionIds) &&
    sessionIds.length > 0 &&
    sessionIds.length <= MAX_SESSIONS &&
    sessionIds.every((id) => typeof id === 'string' && id !== '');
  if (!isList)
    throw fail('invalid_request', `\`sessionIds\` must be a list of 1 to ${MAX_SESSIONS} session ids`);
  return [...new Set(sessionIds as string[])];
}

/** Why one session of a batch was not changed. */
export interface BatchError {
  readonly sessionId: string;
  /** Why the session was not changed, as text for a person. */
  readonly error: string;
  /** A code of `ERRORS`; absent for an error without such a code. */
  readonly code?: string;
}

/** The result for one session: the name of the answer's list that gets its id, or the session's error. */
export type BatchOutcome<Bucket extends string> = Bucket | 'notFound' | Omit<BatchError, 'sessionId'>;

/** The answer to a batch: every id of the request is in exactly one of the lists. */
export type BatchAnswer<Bucket extends string> = Readonly<Record<Bucket | 'notFound', readonly string[]>> & {
  readonly errors: readonly BatchError[];
};
