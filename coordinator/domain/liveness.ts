// The rule that decides when a daemon counts as frozen. One slow answer does not make it frozen, and neither does a feed that
// stalls while the daemon answers: it takes missing beats and an unanswered question. Time comes from a clock that cannot jump.

/** Every threshold of the rule. The period of the beats is the daemon's own limit, `feedBeatMs` (5000). */
export interface LivenessThresholds {
  /** Beat periods that may pass in silence before a daemon is asked whether it lives. */
  readonly beatTimeoutFactor: number;
  /** Period in which silence is looked for. */
  readonly livenessPeriodMs: number;
  /** Time for the answer; a daemon that does not answer within it is frozen, and is ended. */
  readonly probeTimeoutMs: number;
}

/**
 * The longest time from a freeze to its discovery. One look at all daemons takes as long as the slowest answer, and the next
 * look begins only after it, so a second frozen daemon may have to wait for the first.
 */
export function detectionBoundMs(beatMs: number, thresholds: LivenessThresholds): number {
  const { beatTimeoutFactor, livenessPeriodMs, probeTimeoutMs } = thresholds;
  return beatMs * beatTimeoutFactor + probeTimeoutMs + livenessPeriodMs + probeTimeoutMs;
}

/** How long a daemon's event loop can stall without the daemon being taken for frozen, whenever it is probed. */
export function toleratedPauseMs(beatMs: number, { beatTimeoutFactor }: LivenessThresholds): number {
  // When the pause begins, the last beat may be a whole period old.
  return beatMs * (beatTimeoutFactor - 1);
}

/** What was heard of a daemon. */
export interface Heard {
  /** Time since the last beat; before the first beat, since the feed was asked for. */
  readonly silentMs: number;
  /** The period in which beats are due. */
  readonly beatMs: number;
  readonly probe: 'not_asked' | 'answered' | 'unanswered';
}

/** `overdue`: beats are missing, and the daemon was not asked yet or has answered. */
export type Liveness = 'alive' | 'overdue' | 'frozen';

/** `beatTimeoutFactor` is the number of beat periods that may pass in silence. */
export function livenessOf(heard: Heard, beatTimeoutFactor: number): Liveness {
  if (heard.silentMs <= heard.beatMs * beatTimeoutFactor) return 'alive';
  return heard.probe === 'unanswered' ? 'frozen' : 'overdue';
}
