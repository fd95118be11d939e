// The caps on the number of live sessions: of one workspace, and of all workspaces together.
import { fail } from '../contract/errors.ts';

/** Returns when one more session may be live. @throws ApiError 503 when `used` has reached `limit` (0 = no limit). */
export function checkCap(used: number, limit: number, scope: 'workspace' | 'total'): void {
  if (limit === 0 || used < limit) return;
  throw fail('session_limit_exceeded', `There are ${used} sessions; the limit is ${limit}`, { limit, scope });
}
