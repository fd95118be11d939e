// When a daemon counts as frozen. One slow answer is not death, and neither is a feed that stalls while the daemon answers.

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
