// Whether a daemon is stopped for idleness. A pure decision over what it reported: turns, questions and held work
// always keep it; clients that are only watching keep it longer, but not for an unlimited time.

export interface IdleFacts {
  readonly sessions: number;
  /** Running and queued prompts. */
  readonly prompts: number;
  readonly openPermissions: number;
  /** Sessions for which the agent holds background work. */
  readonly backgroundSessions: number;
  /** A session is on its way: somebody was sent to the daemon, and no feed record tells of it yet. */
  readonly isOpening: boolean;
  readonly subscribers: number;
  /** Since the last prompt step or session create. */
  readonly sinceGestureMs: number;
  /** Since the last heartbeat of a registered client. */
  readonly sinceHeartbeatMs: number;
  /** Whether its agent can bring sessions back; null when that is not known. */
  readonly canLoad: boolean | null;
  readonly isPinned: boolean;
}

export interface IdleLimits {
  /** 0 = never stopped for idleness. */
  readonly idleTimeoutMs: number;
  /** The longer limit while a client is watching; not below `idleTimeoutMs`. */
  readonly watchedIdleTimeoutMs: number;
}

export type IdleVerdict =
  | { readonly kind: 'stop'; readonly reason: string }
  /** It has something to do, or must not be stopped. */
  | { readonly kind: 'keep'; readonly reason: string }
  /** Idle, but not for long enough. */
  | { readonly kind: 'wait'; readonly forMs: number };

/** Why a daemon is not provably idle; undefined when it is. What eviction asks, too. */
export function workOf(facts: IdleFacts): string | undefined {
  if (facts.isPinned) return 'it is pinned';
  if (facts.prompts > 0) return `${facts.prompts} prompt(s) running or queued`;
  if (facts.openPermissions > 0) return `${facts.openPermissions} permission question(s) open`;
  if (facts.backgroundSessions > 0) return `the agent holds work for ${facts.backgroundSessions} session(s)`;
  if (facts.isOpening) return 'a session is being opened';
  if (facts.sessions > 0 && facts.canLoad !== true)
    return `its agent could not bring back ${facts.sessions} session(s)`;
  return undefined;
}

export function judgeIdle(facts: IdleFacts, limits: IdleLimits): IdleVerdict {
  if (limits.idleTimeoutMs === 0) return { kind: 'keep', reason: 'idle stop is off' };
  const work = workOf(facts);
  if (work !== undefined) return { kind: 'keep', reason: work };
  const isWatched = facts.subscribers > 0 || facts.sinceHeartbeatMs < limits.idleTimeoutMs;
  const limitMs = isWatched
    ? Math.max(limits.watchedIdleTimeoutMs, limits.idleTimeoutMs)
    : limits.idleTimeoutMs;
  if (facts.sinceGestureMs < limitMs) return { kind: 'wait', forMs: limitMs - facts.sinceGestureMs };
  const watched = isWatched ? ', though clients are watching' : '';
  return { kind: 'stop', reason: `no prompt for ${Math.round(facts.sinceGestureMs / 1000)} s${watched}` };
}
