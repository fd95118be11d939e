// A restore through its attempts: a daemon may die in the middle of bringing its sessions back, and then the next daemon is
// asked.
import type { Clock } from '../../../daemon/contract/clock.ts';
import { ApiError } from '../../../daemon/contract/errors.ts';
import type { Log } from '../../../daemon/contract/log.ts';
import { pauseUnlessAborted } from '../until-aborted.ts';
import type { SessionRestore, SessionToRestore } from './session-restore.ts';

export interface RestoreRetryDeps {
  readonly restore: Pick<SessionRestore, 'attempt'>;
  readonly clock: Clock;
  readonly log: Log;
}

const ATTEMPTS = 4;
/** Codes of a daemon, or an agent, that went away or did not come. */
const LOST: ReadonlySet<string> = new Set([
  'workspace_runtime_unavailable',
  'acp_channel_unavailable',
  'daemon_draining',
]);
const PAUSE_MS = 500;
/** Where the workspace cools off for longer than this, its sessions sleep until a client wants them. */
const MAX_PAUSE_MS = 10_000;

/**
 * Tries until the session is live. Once `signal` aborts, no further attempt begins.
 * @throws the error of the last attempt.
 */
export async function restoreWithRetry(
  { restore, clock, log }: RestoreRetryDeps,
  session: SessionToRestore,
  signal: AbortSignal,
): Promise<void> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await restore.attempt(session, signal);
    } catch (error) {
      const pauseMs = pauseAfter(error);
      if (pauseMs === undefined || attempt === ATTEMPTS || signal.aborted) throw error;
      log.info({ err: error, sessionId: session.sessionId, attempt }, 'retrying a restore');
      await pauseUnlessAborted(clock, pauseMs, signal);
    }
  }
}

/** How long to wait for the next daemon after this failure; undefined when a wait would not help. */
function pauseAfter(error: unknown): number | undefined {
  if (!(error instanceof ApiError) || !LOST.has(String(error.code))) return undefined;
  const { retryAfterMs } = error.context;
  const pauseMs = typeof retryAfterMs === 'number' ? Math.max(retryAfterMs, PAUSE_MS) : PAUSE_MS;
  return pauseMs > MAX_PAUSE_MS ? undefined : pauseMs;
}
