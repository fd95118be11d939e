// Watches that daemons go on beating: a silent one is asked directly before anything is decided.
import type { Clock } from '../../../daemon/contract/clock.ts';
import { livenessOf } from '../../domain/liveness.ts';
import type { DaemonController } from '../daemon/controller.ts';
import type { AskIdentity } from '../daemon/link.ts';
import type { SuperviseSettings } from '../settings.ts';

export interface HealthDeps {
  readonly clock: Clock;
  readonly askIdentity: AskIdentity;
  readonly settings: Pick<SuperviseSettings, 'beatTimeoutFactor' | 'probeTimeoutMs'>;
}

/** Checks one controller's daemon, if its feed is being followed; may take as long as a probe. */
export async function checkHealth(deps: HealthDeps, controller: DaemonController): Promise<void> {
  const { clock, settings, askIdentity } = deps;
  const current = controller.current;
  if (current?.feed === undefined || current.endpoint === undefined) return;
  const { id, endpoint, beatMs, facts, feed } = current;
  const judge = (probe: 'not_asked' | 'answered' | 'unanswered') => {
    const silentMs = clock.monotonicMs() - facts.lastBeatAtMs;
    return livenessOf({ silentMs, beatMs, probe }, settings.beatTimeoutFactor);
  };
  if (judge('not_asked') === 'alive') return;
  const identity = await askIdentity(endpoint, settings.probeTimeoutMs);
  // Judged afresh: if this process was the slow one, a beat has come during the probe.
  const liveness = judge(identity?.incarnation === id ? 'answered' : 'unanswered');
  if (liveness === 'overdue') feed.reconnect('no beat, though the daemon answers');
  if (liveness === 'frozen') controller.beatsLost(id, 'no beat, and no answer to a probe');
}
