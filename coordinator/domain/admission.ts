// The rule that decides whether another daemon may start under `--max-daemons`. Pure: the caller passes the state of each
// workspace.
import type { State } from './daemon-state.ts';
import type { Refusal } from './refusal.ts';

/** Whether one workspace takes up one of the permitted daemons. */
export interface Occupancy {
  readonly state: State;
  /**
   * Whether the workspace has a daemon process, or may have one: a process that cannot be verified counts like a running daemon.
   */
  readonly hasProcess: boolean;
}

const WITH_PROCESS: readonly State[] = ['starting', 'ready', 'draining', 'stopping'];

/**
 * The refusal of another daemon; undefined when one more may start.
 * @param maxDaemons 0 means unlimited.
 * @param retryAfterMs goes into the refusal, for the client.
 */
export function admitDaemon(
  maxDaemons: number,
  workspaces: readonly Occupancy[],
  retryAfterMs: number,
): Refusal | undefined {
  const used = workspaces.filter(
    ({ state, hasProcess }) => hasProcess || WITH_PROCESS.includes(state),
  ).length;
  if (maxDaemons === 0 || used < maxDaemons) return undefined;
  return {
    code: 'daemon_limit_exceeded',
    message: `${used} daemons are running (limit ${maxDaemons}); stop one or raise the limit`,
    context: { limit: maxDaemons, used, requested: 1, retryAfterMs },
  };
}
