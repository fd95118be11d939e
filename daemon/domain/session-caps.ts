// The caps on live sessions, of one workspace and of all.
import { fail } from '../contract/errors.ts';

/** @throws ApiError 503 when the cap (0 = none) is reached. */
export function checkCap(used: number, limit: number, scope: 'workspace' | 'total'): void {
  if (limit === 0 || used < limit) return;
  throw fail('session_limit_exceeded', `There are ${used} sessions; the limit is ${limit}`, { limit, scope });
}
