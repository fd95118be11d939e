// The record of a death: the row's end, its sessions' end and the event that `why` reads, in one transaction.
import type { DaemonExit } from '../launch/launcher.ts';
import type { Source } from './recorder.ts';
import type { SupervisorDeps } from './supervisor-deps.ts';

export interface Death {
  readonly source: Source;
  readonly exit: DaemonExit;
  readonly reason: string;
  readonly wasAskedFor: boolean;
  /** What happens next, for a person: the state that follows, and when. */
  readonly next: Readonly<Record<string, unknown>>;
}

/**
 * Writes the death and takes the closed sessions out of the index. A store that refuses is logged only: the row stays
 * unended, and the next reconciliation finds the process gone.
 */
export function recordDeath(deps: SupervisorDeps, death: Death): void {
  const { store, recorder, clock, log } = deps;
  const { exit, reason, wasAskedFor } = death;
  const { workspaceId, incarnation } = death.source;
  const { code, signal, lastLines, strays } = exit;
  try {
    const closed = store.transaction(() => {
      store.events.append({
        kind: wasAskedFor ? 'daemon_stopped' : 'daemon_died',
        workspaceId,
        incarnation,
        detail: { cause: reason, code, signal, strays, lastLines, ...death.next },
      });
      const sessionReason = wasAskedFor ? 'daemon_stopped' : 'daemon_died';
      return store.daemons.setEnded(incarnation, {
        atMs: clock.nowMs(),
        code,
        signal,
        reason,
        sessionReason,
      });
    });
    recorder.forget(closed);
  } catch (error) {
    log.error({ err: error, incarnation }, 'a daemon’s end could not be recorded yet');
  }
}
