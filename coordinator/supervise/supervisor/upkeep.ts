// What is done for the fleet at regular times, whether anybody asks or not.
import { judgeIdle } from '../../domain/idle-policy.ts';
import type { DaemonController } from '../daemon/controller.ts';
import type { SupervisorDeps } from '../daemon/deps.ts';
import { checkHealth } from './health.ts';
import { startTicker, type Ticker } from './ticker.ts';

export interface Tended {
  readonly controllers: () => Iterable<DaemonController>;
  readonly reconcile: () => Promise<void>;
}

export function startUpkeep(deps: SupervisorDeps, { controllers, reconcile }: Tended): Ticker {
  const { clock, journal, log, recorder, settings, store } = deps;
  const checkAll = async () => {
    await Promise.all([...controllers()].map((controller) => checkHealth(deps, controller)));
  };
  const keepStore = () => {
    journal.flush();
    return store.upkeep();
  };
  const rotateLogs = () => {
    const paths = [...controllers()].map((controller) => controller.current?.logPath);
    return deps.rotateLogs(paths.filter((path) => path !== undefined));
  };
  return startTicker(clock, log, [
    { name: 'flush heartbeats', periodMs: settings.seenFlushMs, run: () => recorder.flushSeen() },
    { name: 'check liveness', periodMs: settings.livenessPeriodMs, run: checkAll },
    {
      name: 'stop idle daemons',
      periodMs: settings.idleCheckPeriodMs,
      run: () => stopIdle(deps, controllers()),
    },
    { name: 'reconcile', periodMs: settings.reconcilePeriodMs, run: reconcile },
    { name: 'rotate logs', periodMs: settings.logRotatePeriodMs, run: rotateLogs },
    { name: 'keep the store', periodMs: settings.storeUpkeepPeriodMs, run: keepStore },
  ]);
}

/** Not awaited: a daemon may take its time to end. */
function stopIdle({ clock, settings, store }: SupervisorDeps, controllers: Iterable<DaemonController>): void {
  for (const controller of controllers) {
    if (!controller.isReady || controller.current?.feed?.isUp !== true) continue;
    const { idleTimeoutMs, isPinned } = store.workspaces.settings(controller.workspace.id);
    const verdict = judgeIdle(controller.current.facts.idleFacts(clock.monotonicMs(), isPinned), {
      idleTimeoutMs: idleTimeoutMs ?? settings.idleTimeoutMs,
      watchedIdleTimeoutMs: settings.watchedIdleTimeoutMs,
    });
    if (verdict.kind === 'stop') void controller.stopIdle(verdict.reason);
  }
}
