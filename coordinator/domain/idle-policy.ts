// The rule that decides whether a daemon is stopped for idleness. Pure, over what the daemon reported: turns, open questions
// and background work always keep it running; clients that are only watching keep it running longer, but not for ever.

/** What a daemon last reported, and when. */
export interface IdleFacts {
  readonly sessions: number;
  /** Running and queued prompts. */
  readonly prompts: number;
  readonly openPermissions: number;
  /** Sessions for which the agent has background work. */
  readonly backgroundSessions: number;
  /** A request was sent to the daemon, and the session that it may open is not in the feed yet. */
  readonly isOpening: boolean;
  /** Open event streams. */
  readonly subscribers: number;
  /** Since the last prompt step or session create. */
  readonly sinceGestureMs: number;
  /** Since the last heartbeat of a registered client. */
  readonly sinceHeartbeatMs: number;
  /** Whether the daemon's agent can load sessions again; null when that is not known. */
  readonly canLoad: boolean | null;
  /** An operator has said that the daemon is never stopped for idleness or evicted. */
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
  /** The daemon has something to do, or must not be stopped. */
  | { readonly kind: 'keep'; readonly reason: string }
  /** The daemon is idle, but not for long enough. */
  | { readonly kind: 'wait'; readonly forMs: number };

/** Why a daemon is not provably idle; undefined when it is. Eviction asks the same. */
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

/** What to do with a daemon now. */
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
