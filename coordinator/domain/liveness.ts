// When a daemon counts as frozen. One slow answer is not death, and neither is a feed that stalls while the daemon answers:
// it takes missing beats and an unanswered question. Time comes from a clock that does not jump.

/** Every threshold of this decision. The period of the beats is the daemon's own limit, `feedBeatMs` (5000). */
export interface LivenessThresholds {
  /** Beat periods that may pass in silence before a daemon is asked. */
  readonly beatTimeoutFactor: number;
  /** Period in which silence is looked for. */
  readonly livenessPeriodMs: number;
  /** Time to answer when asked; a daemon that does not is frozen, and is ended. */
  readonly probeTimeoutMs: number;
}

/**
 * The longest time from a freeze to its discovery. A look takes as long as the slowest daemon's answer and none begins
 * meanwhile, so a second frozen daemon may have to wait for the first.
 */
export function detectionBoundMs(beatMs: number, thresholds: LivenessThresholds): number {
  const { beatTimeoutFactor, livenessPeriodMs, probeTimeoutMs } = thresholds;
  return beatMs * beatTimeoutFactor + probeTimeoutMs + livenessPeriodMs + probeTimeoutMs;
}

/** How long an event loop can stall without ever being taken for frozen, whenever it is probed. */
export function toleratedPauseMs(beatMs: number, { beatTimeoutFactor }: LivenessThresholds): number {
  // The beat before the pause may be a whole period old when it begins.
  return beatMs * (beatTimeoutFactor - 1);
}

export interface Heard {
  /** Since the last beat (or since the feed was first asked for). */
  readonly silentMs: number;
  /** The period in which beats are due. */
  readonly beatMs: number;
  readonly probe: 'not_asked' | 'answered' | 'unanswered';
}

/** `overdue`: beats are missing, but the daemon was not asked yet or did answer. */
export type Liveness = 'alive' | 'overdue' | 'frozen';

/** `beatTimeoutFactor` is the number of beat periods that may pass in silence. */
export function livenessOf(heard: Heard, beatTimeoutFactor: number): Liveness {
  if (heard.silentMs <= heard.beatMs * beatTimeoutFactor) return 'alive';
  return heard.probe === 'unanswered' ? 'frozen' : 'overdue';
}
