// Every number of the bridge that an operator may set: flag name (the reference server's where it has one), default, range.
// The daemon parses its flags from this table, and the coordinator passes the same table's values in the handshake.

type Unit = 'count' | 'ms' | 'bytes';

interface LimitSpec {
  readonly flag: string;
  readonly unit: Unit;
  readonly fallback: number;
  readonly min: number;
  readonly max: number;
  readonly help: string;
}

const spec = (
  flag: string,
  unit: Unit,
  fallback: number,
  help: string,
  min = 0,
  max = 2 ** 31 - 1,
): LimitSpec => ({ flag, unit, fallback, min, max, help });

const MiB = 1024 * 1024;

export const LIMITS = {
  maxSessions: spec('max-sessions', 'count', 32, 'live sessions of a workspace; 0 = unlimited'),
  maxTotalSessions: spec(
    'max-total-sessions',
    'count',
    800,
    'live sessions of all workspaces; 0 = unlimited',
  ),
  maxPendingPromptsPerSession: spec(
    'max-pending-prompts-per-session',
    'count',
    5,
    'prompts of a session, the running one included; 0 = unlimited',
  ),
  maxConnections: spec('max-connections', 'count', 256, 'open sockets of the listener; 0 = unlimited'),
  maxSubscribersPerSession: spec('max-subscribers-per-session', 'count', 64, 'event streams of a session', 1),
  eventRingSize: spec(
    'event-ring-size',
    'count',
    8000,
    'events that a session keeps for replay',
    1,
    1_000_000,
  ),
  eventRingBytes: spec(
    'event-ring-bytes',
    'bytes',
    32 * MiB,
    'bytes that a session keeps for replay',
    64 * 1024,
  ),
  compactedReplayMaxBytes: spec(
    'compacted-replay-max-bytes',
    'bytes',
    4 * MiB,
    'finished turns that a load answers with',
    1024,
  ),
  maxJournalEvents: spec(
    'max-journal-events',
    'count',
    10_000,
    'events of the unfinished turn in a load',
    16,
  ),
  maxJournalBytes: spec(
    'max-journal-bytes',
    'bytes',
    8 * MiB,
    'bytes of the unfinished turn in a load',
    1024,
  ),
  recordingMaxBytes: spec(
    'recording-max-bytes',
    'bytes',
    64 * MiB,
    'transcript of a session, kept where the agent keeps none',
    64 * 1024,
  ),
  replayBudgetBytes: spec('replay-budget-bytes', 'bytes', 8 * MiB, 'bytes replayed to one cursor', 64 * 1024),
  subscriberQueueFrames: spec(
    'subscriber-queue-frames',
    'count',
    256,
    'backlog that counts as slow, in frames',
    16,
    2048,
  ),
  subscriberQueueBytes: spec(
    'subscriber-queue-bytes',
    'bytes',
    2 * MiB,
    'backlog that counts as slow, in bytes',
    1024,
  ),
  heartbeatCommentMs: spec(
    'sse-heartbeat-ms',
    'ms',
    15_000,
    'period of the comment line on event streams',
    10,
  ),
  retryHintMs: spec('sse-retry-ms', 'ms', 3000, 'reconnect hint on event streams', 1),
  writerIdleTimeoutMs: spec(
    'writer-idle-timeout-ms',
    'ms',
    0,
    'event stream without a completed write for this long is evicted; 0 = never',
  ),
  evictedDrainMs: spec(
    'evicted-drain-ms',
    'ms',
    60_000,
    'time for an evicted reader to take its last frame',
    1,
  ),
  promptDeadlineMs: spec('prompt-deadline-ms', 'ms', 0, 'longest turn; 0 = none'),
  initializeTimeoutMs: spec('initialize-timeout-ms', 'ms', 10_000, 'agent start and ordinary agent calls', 1),
  agentAnswerTimeoutMs: spec(
    'agent-answer-timeout-ms',
    'ms',
    60_000,
    'agent calls that ask the model: recaps, side questions, rewinds',
    1,
  ),
  contextReadTimeoutMs: spec(
    'context-read-timeout-ms',
    'ms',
    3000,
    'reading model and mode back from the agent after a change',
    1,
  ),
  sessionRestoreTimeoutMs: spec('session-restore-timeout-ms', 'ms', 60_000, 'agent load and resume calls', 1),
  agentKillGraceMs: spec('agent-kill-grace-ms', 'ms', 10_000, 'agent: from SIGTERM to SIGKILL'),
  agentStdinGraceMs: spec('agent-stdin-grace-ms', 'ms', 500, 'agent: from closed stdin to SIGTERM'),
  channelIdleTimeoutMs: spec(
    'channel-idle-timeout-ms',
    'ms',
    0,
    'an agent child without sessions is kept for this long',
  ),
  channelReuseMs: spec(
    'channel-reuse-ms',
    'ms',
    1000,
    'an agent child that has just lost its last session still takes a new one for this long',
  ),
  sessionReapIntervalMs: spec(
    'session-reap-interval-ms',
    'ms',
    60_000,
    'period of the idle scan; 0 = never',
    0,
  ),
  sessionIdleTimeoutMs: spec(
    'session-idle-timeout-ms',
    'ms',
    30 * 60_000,
    'idle session ends after this: dormant under a coordinator if its agent can load it, else closed; 0 = never',
  ),
  sessionPromptSettledCloseGraceMs: spec(
    'session-prompt-settled-close-grace-ms',
    'ms',
    0,
    'wait after a turn before a session without clients ends in the same way',
  ),
  permissionResponseTimeoutMs: spec(
    'permission-response-timeout-ms',
    'ms',
    0,
    'unanswered permission is cancelled after this; 0 = never',
  ),
  maxPendingPermissions: spec(
    'max-pending-permissions',
    'count',
    64,
    'open permission questions of a session',
    1,
  ),
  maxBodyBytes: spec('max-body-bytes', 'bytes', 10 * MiB, 'JSON request body', 1024),
  rateLimitPrompt: spec('rate-limit-prompt', 'count', 10, 'prompts of a client in a window', 1),
  rateLimitMutation: spec('rate-limit-mutation', 'count', 30, 'other changes of a client in a window', 1),
  rateLimitRead: spec('rate-limit-read', 'count', 120, 'reads of a client in a window', 1),
  rateLimitWindowMs: spec('rate-limit-window-ms', 'ms', 60_000, 'window of the rate limits', 1),
  requestHeadTimeoutMs: spec(
    'request-head-timeout-ms',
    'ms',
    30_000,
    'time for a request to arrive in full',
    10,
  ),
  keepAliveTimeoutMs: spec('keep-alive-timeout-ms', 'ms', 75_000, 'idle keep-alive connection', 10),
  preloadAfterMs: spec(
    'preload-after-ms',
    'ms',
    1000,
    'wait before modules that no request has needed yet are loaded',
  ),
  feedBeatMs: spec('feed-beat-ms', 'ms', 5000, "period of the beat on the coordinator's feed", 10),
  feedMaxUnreadBytes: spec(
    'feed-max-unread-bytes',
    'bytes',
    4 * MiB,
    'feed bytes that a reader may leave unread',
    1024,
  ),
  orphanLimitMs: spec(
    'orphan-limit',
    'ms',
    30 * 60_000,
    'a daemon without a coordinator accepts no new work after this, and ends itself once it has none left; 0 = never',
  ),
  orphanDrainMs: spec(
    'orphan-drain-ms',
    'ms',
    10 * 60_000,
    'time that such a daemon allows its remaining work',
  ),
  shutdownGraceMs: spec('shutdown-grace-ms', 'ms', 10_000, 'time for an orderly end', 1),
} as const satisfies Record<string, LimitSpec>;

export type LimitName = keyof typeof LIMITS;
export type Limits = Readonly<Record<LimitName, number>>;

export const LIMIT_NAMES = Object.keys(LIMITS) as readonly LimitName[];

export const DEFAULT_LIMITS: Limits = Object.freeze(
  Object.fromEntries(LIMIT_NAMES.map((name) => [name, LIMITS[name].fallback])) as Record<LimitName, number>,
);

/** Defaults overlaid with `values`; unknown names are ignored, so that old and new processes can talk. */
export function limitsFrom(values: Readonly<Record<string, unknown>>): Limits {
  const merged: Record<LimitName, number> = { ...DEFAULT_LIMITS };
  for (const name of LIMIT_NAMES) {
    const value = values[name];
    if (typeof value === 'number' && value >= LIMITS[name].min && value <= LIMITS[name].max)
      merged[name] = value;
  }
  return Object.freeze(merged);
}
