// What is done for the fleet at regular times, whether anybody asks or not.
import { judgeIdle } from '../../domain/idle-policy.ts';
import type { Cell } from '../daemon/controller.ts';
import type { SupervisorDeps } from '../daemon/deps.ts';
import { checkHealth } from './health.ts';
import { startTicker, type Ticker } from './ticker.ts';

export interface Tended {
  readonly cells: () => Iterable<Cell>;
  readonly reconcile: () => Promise<void>;
}

export function startUpkeep(deps: SupervisorDeps, { cells, reconcile }: Tended): Ticker {
  const { clock, flight, log, recorder, settings, store } = deps;
  const checkAll = async () => {
    await Promise.all([...cells()].map((cell) => checkHealth(deps, cell)));
  };
  const keepStore = () => {
    flight.flush();
    return store.upkeep();
  };
  const rotateLogs = () => {
    const paths = [...cells()].map((cell) => cell.current?.logPath);
    return deps.rotateLogs(paths.filter((path) => path !== undefined));
  };
  return startTicker(clock, log, [
    { name: 'flush heartbeats', periodMs: settings.seenFlushMs, run: () => recorder.flushSeen() },
    { name: 'check liveness', periodMs: settings.livenessPeriodMs, run: checkAll },
    { name: 'stop idle daemons', periodMs: settings.idleCheckPeriodMs, run: () => stopIdle(deps, cells()) },
    { name: 'reconcile', periodMs: settings.reconcilePeriodMs, run: reconcile },
    { name: 'rotate logs', periodMs: settings.logRotatePeriodMs, run: rotateLogs },
    { name: 'keep the store', periodMs: settings.storeUpkeepPeriodMs, run: keepStore },
  ]);
}

/** Not awaited: a daemon may take its time to end. */
function stopIdle({ clock, settings, store }: SupervisorDeps, cells: Iterable<Cell>): void {
  for (const cell of cells) {
    if (!cell.isReady || cell.current?.feed?.isUp !== true) continue;
    const { idleTimeoutMs, isPinned } = store.workspaces.settings(cell.workspace.id);
    const verdict = judgeIdle(cell.current.facts.idleFacts(clock.monotonicMs(), isPinned), {
      idleTimeoutMs: idleTimeoutMs ?? settings.idleTimeoutMs,
      watchedIdleTimeoutMs: settings.watchedIdleTimeoutMs,
    });
    if (verdict.kind === 'stop') void cell.stopIdle(verdict.reason);
  }
}
