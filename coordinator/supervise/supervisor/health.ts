// The health check: when a daemon's beats stay away, asks the daemon for its identity before its feed is renewed or it is ended.
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

/** Checks the controller's daemon, if its feed is being followed. Takes up to `probeTimeoutMs`. */
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
  // Judged again after the probe: if this process was slow and not the daemon, a beat has come meanwhile.
  const liveness = judge(identity?.incarnation === id ? 'answered' : 'unanswered');
  if (liveness === 'overdue') feed.reconnect('no beat, though the daemon answers');
  if (liveness === 'frozen') controller.beatsLost(id, 'no beat, and no answer to a probe');
}
