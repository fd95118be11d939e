// Runs a request about several sessions for one session after the other. A failure affects only the session that failed.
import { ApiError, messageOf } from '../contract/errors.ts';
import type { BatchAnswer, BatchError, BatchOutcome } from '../domain/session-batch.ts';

/** Calls `each` for one id after the other, and sorts the ids by the outcomes. An error of `each` becomes the id's error. */
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
    return { error: messageOf(error), ...code };
  }
}
