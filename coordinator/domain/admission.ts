// The rule that decides whether another daemon may start. Pure: the caller says what each workspace has.
import type { State } from './daemon-state.ts';
import type { Refusal } from './refusal.ts';

/** What the rule needs to know of each workspace. */
export interface Occupancy {
  readonly state: State;
  /** A process is there, or may be: one that cannot be verified counts like a daemon that is proven to run. */
  readonly hasProcess: boolean;
}

const WITH_PROCESS: readonly State[] = ['starting', 'ready', 'draining', 'stopping'];

/** Why no further daemon may start; undefined when one more may. `maxDaemons` 0 means unlimited. */
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
