// Requests about several sessions at once: which sessions, and how the answer sorts them.
import { ApiError, fail } from '../contract/errors.ts';
import type { JsonObject } from '../contract/json-body.ts';

const MAX_SESSIONS = 100;

/** The distinct ids of a batch, as they came. @throws ApiError 400 `invalid_request`. */
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
  /** For people. */
  readonly error: string;
  /** As the error table has it, where it does. */
  readonly code?: string;
}

/** What became of one session. */
export type BatchOutcome<Bucket extends string> = Bucket | 'notFound' | Omit<BatchError, 'sessionId'>;

/** The answer of a batch: each id is in one of the lists. */
export type BatchAnswer<Bucket extends string> = Readonly<Record<Bucket | 'notFound', readonly string[]>> & {
  readonly errors: readonly BatchError[];
};

/** Applies `each` to every id in turn and sorts the ids by what it says. What it throws is that id's error. */
export async function runBatch<Bucket extends string>(
  ids: readonly string[],
  buckets: readonly Bucket[],
  each: (id: string) => BatchOutcome<Bucket> | Promise<BatchOutcome<Bucket>>,
): Promise<BatchAnswer<Bucket>> {
  const lists = Object.fromEntries([...buckets, 'notFound'].map((name) => [name, [] as string[]]));
  const errors: BatchError[] = [];
  for (const sessionId of ids) {
    const outcome = await outcomeOf(async () => each(sessionId));
    if (typeof outcome === 'string') lists[outcome]?.push(sessionId);
    else errors.push({ sessionId, ...outcome });
  }
  return { ...lists, errors } as BatchAnswer<Bucket>;
}

async function outcomeOf<Bucket extends string>(
  run: () => Promise<BatchOutcome<Bucket>>,
): Promise<BatchOutcome<Bucket>> {
  try {
    return await run();
  } catch (error) {
    const code = error instanceof ApiError && typeof error.code === 'string' ? { code: error.code } : {};
    return { error: error instanceof Error ? error.message : String(error), ...code };
  }
}
