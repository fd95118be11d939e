// Makes the ApiError of every refusal by supervision: what happened, which limit was reached, when to try again. Decides nothing.
import { ApiError, fail, messageOf } from '../../daemon/contract/errors.ts';
import type { Event } from '../domain/daemon-state.ts';
import type { Refusal } from '../domain/refusal.ts';
import { spanOf } from '../domain/units.ts';
import type { DaemonExit } from '../launch/launcher.ts';
import type { DaemonView, WorkspaceKey } from './fleet.ts';

/** Number of a dead daemon's last log lines in a refusal; the event row has more of them. */
const LINES_SHOWN = 5;

/** A `Refusal` of a rule in domain/ as an ApiError. `retryAfterMs` in its context becomes the Retry-After header. */
export function refused(refusal: Refusal): ApiError {
  const { retryAfterMs } = refusal.context;
  const retryAfterS = typeof retryAfterMs === 'number' ? seconds(retryAfterMs) : undefined;
  return fail(refusal.code, refusal.message, refusal.context, retryAfterS);
}

export function startTimedOut(workspace: WorkspaceKey, timeoutMs: number): ApiError {
  return fail('init_timeout', `The daemon of ${workspace.path} was not ready within ${timeoutMs} ms`, {
    errorKind: 'init_timeout',
    retryable: true,
    phase: 'daemon.start',
    timeoutMs,
  });
}

export function tooManyWaiters(workspace: WorkspaceKey, limit: number): ApiError {
  return unavailable(workspace, `too many requests are waiting for this daemon (limit ${limit})`, 1000, {
    limit,
    used: limit,
  });
}

/** The 503 for a daemon that cannot serve. @param retryAfterMs time after which a retry makes sense. */
export function unavailable(
  workspace: WorkspaceKey,
  why: string,
  retryAfterMs: number,
  context: Readonly<Record<string, unknown>> = {},
): ApiError {
  return fail(
    'workspace_runtime_unavailable',
    `The daemon of ${workspace.path} is not available: ${why}`,
    { workspaceId: workspace.id, workspaceCwd: workspace.path, reason: why, retryAfterMs, ...context },
    seconds(retryAfterMs),
  );
}

export function stopped(workspace: WorkspaceKey, reason: string): ApiError {
  return fail('workspace_draining', `The daemon of ${workspace.path} is being stopped: ${reason}`, {
    workspaceId: workspace.id,
    workspaceCwd: workspace.path,
    reason,
  });
}

/** The 503 for new work while the workspace is drained or its daemon is being replaced, also when it would need a start. */
export function draining(workspace: WorkspaceKey, reason: string): ApiError {
  return fail('workspace_draining', `The workspace accepts no new work: ${reason}`, {
    workspaceId: workspace.id,
    workspaceCwd: workspace.path,
    reason,
  });
}

export function shuttingDown(): ApiError {
  return fail('daemon_draining', 'The coordinator is shutting down');
}

/** Why a workspace cools off after too many deaths of its daemons. */
export interface CoolOff {
  /** Number of deaths within `periodMs`. */
  readonly deaths: number;
  readonly periodMs: number;
  /** Why the last daemon ended; undefined when that is not known. */
  readonly lastReason: string | undefined;
  /** Time until the next start is allowed. */
  readonly leftMs: number;
}

/** The 503 while the workspace cools off, in state `failed`. */
export function failed(workspace: WorkspaceKey, { deaths, periodMs, lastReason, leftMs }: CoolOff): ApiError {
  const count = `${deaths} ${deaths === 1 ? 'failure' : 'failures'} within ${spanOf(periodMs)}`;
  const why = `${count}; last: ${lastReason ?? 'unknown'}; next attempt allowed in ${spanOf(leftMs)}`;
  return unavailable(workspace, why, leftMs, { deaths });
}

/** The error for requests that waited for a daemon whose start ended with `event`. */
export function refusalAfter(
  event: Event,
  workspace: WorkspaceKey,
  retryAfterMs: number,
  lastExit: DaemonView['lastExit'],
): ApiError {
  switch (event.type) {
    case 'stop':
      return stopped(workspace, event.reason);
    case 'boot_timeout':
    case 'beats_lost':
      return unavailable(workspace, event.why, retryAfterMs);
    case 'start_failed':
    case 'spawn_failed':
      return startFailed(workspace, event.error, retryAfterMs);
    default:
      return diedWhileAwaited(workspace, lastExit, retryAfterMs);
  }
}

/** The error for a failed start: an ApiError, such as the store's 507, as it is; any other error as a 503. */
function startFailed(workspace: WorkspaceKey, error: unknown, retryAfterMs: number): ApiError {
  return error instanceof ApiError ? error : unavailable(workspace, messageOf(error), retryAfterMs);
}

function diedWhileAwaited(
  workspace: WorkspaceKey,
  exit: DaemonView['lastExit'],
  retryAfterMs: number,
): ApiError {
  return unavailable(workspace, `it ended: ${exit?.reason ?? 'unknown'}`, retryAfterMs, {
    exitCode: exit?.code ?? null,
    signal: exit?.signal ?? null,
    lastLines: exit?.lastLines.slice(-LINES_SHOWN) ?? [],
  });
}

/** The 503 while the workspace is held: a daemon of an earlier coordinator may still serve it. */
export function held(
  workspace: WorkspaceKey,
  pid: number | null,
  why: string,
  retryAfterMs: number,
): ApiError {
  const which = pid === null ? 'a daemon with an unknown pid' : `process ${pid}`;
  const remedy = pid === null ? '' : `; to unblock now, end process ${pid}`;
  const advice = `${which} of an earlier coordinator may still serve it (${why}); it is rechecked automatically${remedy}`;
  return unavailable(workspace, advice, retryAfterMs, { pid });
}

/** How a daemon's process ended, in a few words. */
export function wordsOfExit(exit: Pick<DaemonExit, 'code' | 'signal'>): string {
  if (exit.signal !== null) return `killed by ${exit.signal}`;
  return exit.code === null ? 'exit code unknown' : `exit code ${exit.code}`;
}

/** The time in whole seconds for a Retry-After header: at least 1. */
function seconds(ms: number): number {
  return Math.max(1, Math.ceil(ms / 1000));
}
