// Requests about several sessions at once: which sessions, and how the answer sorts them.
import { fail } from '../contract/errors.ts';
import type { JsonObject } from '../contract/json-body.ts';

const MAX_SESSIONS = 100;

/** The distinct session ids of a batch, in the order given. @throws ApiError 400 `invalid_request`. */
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

/** Why one session of a batch was left as it is. */
export interface BatchError {
  readonly sessionId: string;
  /** Text for a person. */
  readonly error: string;
  /** Code of the error table; absent for an error that has none there. */
  readonly code?: string;
}

/** What became of one session: the list of the answer that it goes to, or its error. */
export type BatchOutcome<Bucket extends string> = Bucket | 'notFound' | Omit<BatchError, 'sessionId'>;

/** The answer of a batch: each id is in one of the lists. */
export type BatchAnswer<Bucket extends string> = Readonly<Record<Bucket | 'notFound', readonly string[]>> & {
  readonly errors: readonly BatchError[];
};
