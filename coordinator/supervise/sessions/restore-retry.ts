// Repeats the restore of a session when its daemon goes away meanwhile: the next attempt asks the next daemon.
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
/** Error codes after which a restore is repeated: a daemon or an agent went away or did not start. */
const LOST: ReadonlySet<string> = new Set([
  'workspace_runtime_unavailable',
  'acp_channel_unavailable',
  'daemon_draining',
]);
const PAUSE_MS = 500;
/** Longest wait between two attempts. If the workspace cools off for longer, the restore fails and the session sleeps. */
const MAX_PAUSE_MS = 10_000;

/**
 * Tries to restore the session until it is live, up to `ATTEMPTS` times. Begins no attempt once `signal` has aborted.
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

/** How long to wait before the next attempt after this error; undefined when another attempt would not help. */
function pauseAfter(error: unknown): number | undefined {
  if (!(error instanceof ApiError) || !LOST.has(String(error.code))) return undefined;
  const { retryAfterMs } = error.context;
  const pauseMs = typeof retryAfterMs === 'number' ? Math.max(retryAfterMs, PAUSE_MS) : PAUSE_MS;
  return pauseMs > MAX_PAUSE_MS ? undefined : pauseMs;
}
