// The rule that decides when a daemon counts as frozen: beats are missing and a probe is unanswered. One slow answer is not
// enough, and neither is a feed that stalls while the daemon answers. Time comes from a clock that cannot jump.

/** The coordinator's settings for the rule. The period of the beats is a limit of the daemon, `feedBeatMs` (5000). */
export interface LivenessThresholds {
  /** Number of beat periods that may pass without a beat before a daemon is probed. */
  readonly beatTimeoutFactor: number;
  /** Interval at which all daemons are checked for missing beats. */
  readonly livenessPeriodMs: number;
  /** Time for a daemon to answer a probe; a daemon that does not answer in this time is frozen, and is ended. */
  readonly probeTimeoutMs: number;
}

/**
 * The longest time from a freeze to its discovery. One check of all daemons takes as long as the slowest answer, and the next
 * check begins only afterwards, so the discovery of a second frozen daemon may have to wait for the first.
 */
export function detectionBoundMs(beatMs: number, thresholds: LivenessThresholds): number {
  const { beatTimeoutFactor, livenessPeriodMs, probeTimeoutMs } = thresholds;
  return beatMs * beatTimeoutFactor + probeTimeoutMs + livenessPeriodMs + probeTimeoutMs;
}

/** How long a daemon's event loop may stall without the daemon being taken for frozen, whenever in that time it is probed. */
export function toleratedPauseMs(beatMs: number, { beatTimeoutFactor }: LivenessThresholds): number {
  // When the pause begins, the last beat may be a whole period old.
  return beatMs * (beatTimeoutFactor - 1);
}

/** When the coordinator last heard from a daemon, and how. */
export interface Heard {
  /** Time since the last beat; before the first beat, since the feed was requested. */
  readonly silentMs: number;
  /** The period in which the daemon sends beats. */
  readonly beatMs: number;
  readonly probe: 'not_asked' | 'answered' | 'unanswered';
}

/** `overdue`: beats are missing, but the daemon has not been probed yet or has answered the probe. */
export type Liveness = 'alive' | 'overdue' | 'frozen';

/** Judges a daemon. @param beatTimeoutFactor number of beat periods that may pass without a beat. */
export function livenessOf(heard: Heard, beatTimeoutFactor: number): Liveness {
  if (heard.silentMs <= heard.beatMs * beatTimeoutFactor) return 'alive';
  return heard.probe === 'unanswered' ? 'frozen' : 'overdue';
}
