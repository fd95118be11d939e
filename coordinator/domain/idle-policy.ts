// The rule that decides whether a daemon is stopped for idleness. Pure: turns, permission questions and background work always
// keep the daemon running; clients that are only watching keep it running longer, but not for ever.

/** The facts about one daemon on which the rule decides: its last beat, and what the coordinator knows itself. */
export interface IdleFacts {
  readonly sessions: number;
  /** Number of running and queued prompts. */
  readonly prompts: number;
  readonly openPermissions: number;
  /** Number of sessions for which the agent has background work. */
  readonly backgroundSessions: number;
  /** Whether the daemon was sent a request that may open a session, and the feed has not reported the session yet. */
  readonly isOpening: boolean;
  /** Number of open event streams. */
  readonly subscribers: number;
  /** Milliseconds since the last step of a prompt or the last create of a session. */
  readonly sinceGestureMs: number;
  /** Milliseconds since the last heartbeat of a registered client. */
  readonly sinceHeartbeatMs: number;
  /** Whether the daemon's agent can load sessions again; null when that is not known. */
  readonly canLoad: boolean | null;
  /** Whether an operator has pinned the workspace: then its daemon is never stopped for idleness or evicted. */
  readonly isPinned: boolean;
}

export interface IdleLimits {
  /** Time without a gesture after which a daemon is stopped; 0: never stopped for idleness. */
  readonly idleTimeoutMs: number;
  /** The limit that applies instead while a client is watching; a value below `idleTimeoutMs` has no effect. */
  readonly watchedIdleTimeoutMs: number;
}

export type IdleVerdict =
  | { readonly kind: 'stop'; readonly reason: string }
  /** The daemon has something to do, or must not be stopped. */
  | { readonly kind: 'keep'; readonly reason: string }
  /** The daemon is idle, but not for long enough. */
  | { readonly kind: 'wait'; readonly forMs: number };

/** The reason why a daemon must not be stopped; undefined when it is provably idle. Eviction applies this rule too. */
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

/** Decides whether a daemon is stopped for idleness now, kept running, or judged again after `forMs`. */
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
