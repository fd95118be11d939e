// What a check of `doctor` says.

export type Level = 'ok' | 'warn' | 'fail';

export interface Finding {
  /** What was looked at. */
  readonly check: string;
  /** `warn`: works, but is worth a look. `fail`: does not work, or should not be. */
  readonly level: Level;
  readonly text: string;
  /** What to do about the finding. */
  readonly remedy?: string;
}

const RANK: Readonly<Record<Level, number>> = { ok: 0, warn: 1, fail: 2 };

export function worstOf(findings: readonly Finding[]): Level {
  return findings.reduce<Level>((worst, { level }) => (RANK[level] > RANK[worst] ? level : worst), 'ok');
}
