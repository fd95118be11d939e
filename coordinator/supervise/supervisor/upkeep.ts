// The periodic jobs of the supervisor: health, idle daemons, reconciliation, logs, heartbeats, database.
import type { Clock } from '../../../daemon/contract/clock.ts';
import type { Log } from '../../../daemon/contract/log.ts';
import { judgeIdle } from '../../domain/idle-policy.ts';
import type { Store } from '../../store/store.ts';
import type { DaemonController } from '../daemon/controller.ts';
import type { AskIdentity } from '../daemon/link.ts';
import type { EventJournal } from '../records/event-journal.ts';
import type { SessionRecorder } from '../records/session-recorder.ts';
import type { SuperviseSettings } from '../settings.ts';
import { checkHealth } from './health.ts';
import { startTicker, type Ticker } from './ticker.ts';

export interface UpkeepDeps {
  readonly store: Pick<Store, 'upkeep' | 'workspaces'>;
  readonly recorder: Pick<SessionRecorder, 'flushSeen'>;
  readonly journal: Pick<EventJournal, 'flush'>;
  readonly askIdentity: AskIdentity;
  readonly clock: Clock;
  readonly log: Log;
  readonly settings: SuperviseSettings;
}

/** What the periodic jobs work on: all controllers, and the reconciliation of adoption. */
export interface Tended {
  readonly controllers: () => Iterable<DaemonController>;
  readonly reconcile: () => Promise<void>;
}

export function startUpkeep(deps: UpkeepDeps, { controllers, reconcile }: Tended): Ticker {
  const { askIdentity, clock, journal, log, recorder, settings, store } = deps;
  const checkAll = async () => {
    const health = { askIdentity, clock, settings };
    await Promise.all([...controllers()].map((controller) => checkHealth(health, controller)));
  };
  const keepStore = () => {
    journal.flush();
    return store.upkeep();
  };
  const rotateLogs = () => {
    for (const controller of controllers()) controller.current?.process.rotateLog();
  };
  return startTicker(clock, log, [
    { name: 'flush heartbeats', periodMs: settings.seenFlushMs, run: () => recorder.flushSeen() },
    { name: 'check liveness', periodMs: settings.livenessPeriodMs, run: checkAll },
    {
      name: 'stop idle daemons',
      periodMs: settings.idleCheckPeriodMs,
      run: () => stopIdle({ clock, settings, store }, controllers()),
    },
    { name: 'reconcile', periodMs: settings.reconcilePeriodMs, run: reconcile },
    { name: 'rotate logs', periodMs: settings.logRotatePeriodMs, run: rotateLogs },
    { name: 'keep the store', periodMs: settings.storeUpkeepPeriodMs, run: keepStore },
  ]);
}

/** Begins to stop every idle daemon, and does not wait for their ends: a daemon may take its time to end. */
function stopIdle(
  { clock, settings, store }: Pick<UpkeepDeps, 'clock' | 'settings' | 'store'>,
  controllers: Iterable<DaemonController>,
): void {
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
