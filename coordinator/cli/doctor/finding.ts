// The result of one check of `doctor`.

export type Level = 'ok' | 'warn' | 'fail';

export interface Finding {
  /** Name of the thing that was checked, for a person. */
  readonly check: string;
  /** `warn`: the checked thing works, but is worth a look. `fail`: it does not work, or should not be there. */
  readonly level: Level;
  readonly text: string;
  /** What to do about the finding. */
  readonly remedy?: string;
}

const RANK: Readonly<Record<Level, number>> = { ok: 0, warn: 1, fail: 2 };

export function worstOf(findings: readonly Finding[]): Level {
  return findings.reduce<Level>((worst, { level }) => (RANK[level] > RANK[worst] ? level : worst), 'ok');
}
