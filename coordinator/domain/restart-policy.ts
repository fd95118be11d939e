// The rule that decides what follows the end of a daemon: nothing, another start after a wait, or no start until a cool-off is
// over. Pure: the caller keeps the history and passes the time and the randomness.

export interface RestartPolicy {
  /** Number of deaths within `periodMs` that are still followed by a retry; after one more the daemon counts as failed. */
  readonly intensity: number;
  readonly periodMs: number;
  /** Wait after the first death of a period; it doubles with every further death. */
  readonly firstBackoffMs: number;
  readonly maxBackoffMs: number;
  /** Share of the wait that is random, 0 to 1, so that daemons that died together do not return together. */
  readonly jitter: number;
  /** How long a failed daemon is not started, and requests that need it are refused. */
  readonly coolOffMs: number;
}

export type RestartVerdict =
  /** The end was wanted: the next request starts the daemon afresh. */
  | { readonly kind: 'clean' }
  | { readonly kind: 'retry'; readonly afterMs: number }
  /** No start before `untilMs`, on the scale of `DeathCircumstances.nowMs`. */
  | { readonly kind: 'failed'; readonly untilMs: number };

/** How a daemon ended. */
export interface Death {
  /**
   * `asked`: the coordinator wanted the end (stop, idle). `given_up`: the coordinator ended a daemon that did not work.
   * `own`: the daemon ended unasked.
   */
  readonly end: 'asked' | 'given_up' | 'own';
  /** The daemon had been ready. An exit before that is a failed start, even with code 0. */
  readonly wasReady: boolean;
  /** Exit code; null for a signal, or where it is not known. */
  readonly code: number | null;
}

export interface Judgement {
  readonly verdict: RestartVerdict;
  /** Times of the deaths that still count, newest last; to be passed to the next call of `judgeDeath`. */
  readonly history: readonly number[];
}

/** The facts on which `judgeDeath` decides, besides the death itself. */
export interface DeathCircumstances {
  /** Times of the earlier deaths that still count, oldest first. */
  readonly history: readonly number[];
  /** Time of the death, on any monotonic scale that is the same for every call. */
  readonly nowMs: number;
  readonly policy: RestartPolicy;
  /** In [0, 1); chooses the jitter of the wait. */
  readonly random: number;
}

/** Decides what follows a daemon's end. A clean end adds nothing to the history. */
export function judgeDeath(death: Death, { history, nowMs, policy, random }: DeathCircumstances): Judgement {
  const recent = history.filter((atMs) => nowMs - atMs < policy.periodMs);
  if (isClean(death)) return { verdict: { kind: 'clean' }, history: recent };
  const deaths = [...recent, nowMs];
  if (deaths.length > policy.intensity)
    return { verdict: { kind: 'failed', untilMs: nowMs + policy.coolOffMs }, history: deaths };
  return { verdict: { kind: 'retry', afterMs: backoffMs(deaths.length, policy, random) }, history: deaths };
}

/** Milliseconds from `nowMs`, on the verdict's scale, that a client should wait before it tries again; 1000 after a clean end. */
export function retryAfterOf(verdict: RestartVerdict, nowMs: number): number {
  switch (verdict.kind) {
    case 'clean':
      return 1000;
    case 'retry':
      return verdict.afterMs;
    case 'failed':
      return verdict.untilMs - nowMs;
  }
}

function isClean({ end, wasReady, code }: Death): boolean {
  return end === 'asked' || (end === 'own' && wasReady && code === 0);
}

function backoffMs(deaths: number, policy: RestartPolicy, random: number): number {
  const full = Math.min(policy.maxBackoffMs, policy.firstBackoffMs * 2 ** (deaths - 1));
  return Math.round(full * (1 - policy.jitter * random));
}
