// The table of limits, which are all numbers that an operator may set: flag (the reference server's name where it has one),
// default, range. Both processes parse their flags by this table; the coordinator hands the values to daemons in the handshake.

/** The values that a limit may have, both ends included. */
interface LimitRange {
  readonly min: number;
  readonly max: number;
}

interface LimitSpec extends LimitRange {
  readonly flag: string;
  readonly unit: 'count' | 'ms' | 'bytes';
  readonly fallback: number;
  readonly help: string;
}

/** Makes the function that defines a limit in this unit. Its range is 0 to 2^31 - 1, unless `range` narrows it. */
const limitOf =
  <Unit extends LimitSpec['unit']>(unit: Unit) =>
  (flag: string, fallback: number, help: string, range: Partial<LimitRange> = {}) => ({
    flag,
    unit,
    fallback,
    help,
    min: 0,
    max: 2 ** 31 - 1,
    ...range,
  });

const count = limitOf('count');
const ms = limitOf('ms');
const bytes = limitOf('bytes');

const MiB = 1024 * 1024;

export const LIMITS = {
  maxSessions: count('max-sessions', 32, 'live sessions of a workspace; 0 = unlimited'),
  maxTotalSessions: count('max-total-sessions', 800, 'live sessions of all workspaces; 0 = unlimited'),
  maxPendingPromptsPerSession: count(
    'max-pending-prompts-per-session',
    5,
    'prompts of a session, the running one included; 0 = unlimited',
  ),
  maxConnections: count('max-connections', 256, 'open sockets of the listener; 0 = unlimited'),
  maxSubscribersPerSession: count('max-subscribers-per-session', 64, 'event streams of a session', {
    min: 1,
  }),
  eventRingSize: count('event-ring-size', 8000, 'events that a session keeps for replay', {
    min: 1,
    max: 1_000_000,
  }),
  eventRingBytes: bytes('event-ring-bytes', 32 * MiB, 'bytes that a session keeps for replay', {
    min: 64 * 1024,
  }),
  compactedReplayMaxBytes: bytes(
    'compacted-replay-max-bytes',
    4 * MiB,
    'finished turns that a load answers with',
    { min: 1024 },
  ),
  maxJournalEvents: count('max-journal-events', 10_000, 'events of the unfinished turn in a load', {
    min: 16,
  }),
  maxJournalBytes: bytes('max-journal-bytes', 8 * MiB, 'bytes of the unfinished turn in a load', {
    min: 1024,
  }),
  recordingMaxBytes: bytes(
    'recording-max-bytes',
    64 * MiB,
    'transcript of a session, kept where the agent keeps none',
    { min: 64 * 1024 },
  ),
  replayBudgetBytes: bytes('replay-budget-bytes', 8 * MiB, 'bytes replayed to one cursor', {
    min: 64 * 1024,
  }),
  subscriberQueueFrames: count('subscriber-queue-frames', 256, 'backlog that counts as slow, in frames', {
    min: 16,
    max: 2048,
  }),
  subscriberQueueBytes: bytes('subscriber-queue-bytes', 2 * MiB, 'backlog that counts as slow, in bytes', {
    min: 1024,
  }),
  heartbeatCommentMs: ms('sse-heartbeat-ms', 15_000, 'period of the comment line on event streams', {
    min: 10,
  }),
  retryHintMs: ms('sse-retry-ms', 3000, 'reconnect hint on event streams', { min: 1 }),
  writerIdleTimeoutMs: ms(
    'writer-idle-timeout-ms',
    0,
    'event stream without a completed write for this long is evicted; 0 = never',
  ),
  evictedDrainMs: ms('evicted-drain-ms', 60_000, 'time for an evicted reader to take its last frame', {
    min: 1,
  }),
  promptDeadlineMs: ms('prompt-deadline-ms', 0, 'longest turn; 0 = none'),
  initializeTimeoutMs: ms('initialize-timeout-ms', 10_000, 'agent start and ordinary agent calls', {
    min: 1,
  }),
  agentAnswerTimeoutMs: ms(
    'agent-answer-timeout-ms',
    60_000,
    'agent calls that ask the model: recaps, side questions, rewinds',
    { min: 1 },
  ),
  contextReadTimeoutMs: ms(
    'context-read-timeout-ms',
    3000,
    'reading model and mode back from the agent after a change',
    { min: 1 },
  ),
  sessionRestoreTimeoutMs: ms('session-restore-timeout-ms', 60_000, 'agent load and resume calls', {
    min: 1,
  }),
  agentKillGraceMs: ms('agent-kill-grace-ms', 10_000, 'agent: from SIGTERM to SIGKILL'),
  agentStdinGraceMs: ms('agent-stdin-grace-ms', 500, 'agent: from closed stdin to SIGTERM'),
  channelIdleTimeoutMs: ms(
    'channel-idle-timeout-ms',
    0,
    'an agent child without sessions is kept for this long',
  ),
  channelReuseMs: ms(
    'channel-reuse-ms',
    1000,
    'an agent child that has just lost its last session still takes a new one for this long',
  ),
  sessionReapIntervalMs: ms('session-reap-interval-ms', 60_000, 'period of the idle scan; 0 = never'),
  sessionIdleTimeoutMs: ms(
    'session-idle-timeout-ms',
    30 * 60_000,
    'idle session ends after this: dormant under a coordinator if its agent can load it, else closed; 0 = never',
  ),
  sessionPromptSettledCloseGraceMs: ms(
    'session-prompt-settled-close-grace-ms',
    0,
    'wait after a turn before a session without clients ends in the same way',
  ),
  permissionResponseTimeoutMs: ms(
    'permission-response-timeout-ms',
    0,
    'unanswered permission is cancelled after this; 0 = never',
  ),
  maxPendingPermissions: count('max-pending-permissions', 64, 'open permission questions of a session', {
    min: 1,
  }),
  maxBodyBytes: bytes('max-body-bytes', 10 * MiB, 'JSON request body', { min: 1024 }),
  rateLimitPrompt: count('rate-limit-prompt', 10, 'prompts of a client in a window', { min: 1 }),
  rateLimitMutation: count('rate-limit-mutation', 30, 'other changes of a client in a window', { min: 1 }),
  rateLimitRead: count('rate-limit-read', 120, 'reads of a client in a window', { min: 1 }),
  rateLimitWindowMs: ms('rate-limit-window-ms', 60_000, 'window of the rate limits', { min: 1 }),
  requestHeadTimeoutMs: ms('request-head-timeout-ms', 30_000, 'time for a request to arrive in full', {
    min: 10,
  }),
  keepAliveTimeoutMs: ms('keep-alive-timeout-ms', 75_000, 'idle keep-alive connection', { min: 10 }),
  preloadAfterMs: ms(
    'preload-after-ms',
    1000,
    'wait before modules that no request has needed yet are loaded',
  ),
  feedBeatMs: ms('feed-beat-ms', 5000, "period of the beat on the coordinator's feed", { min: 10 }),
  feedMaxUnreadBytes: bytes('feed-max-unread-bytes', 4 * MiB, 'feed bytes that a reader may leave unread', {
    min: 1024,
  }),
  orphanLimitMs: ms(
    'orphan-limit',
    30 * 60_000,
    'a daemon without a coordinator accepts no new work after this, and ends itself once it has none left; 0 = never',
  ),
  orphanDrainMs: ms('orphan-drain-ms', 10 * 60_000, 'time that such a daemon allows its remaining work'),
  shutdownGraceMs: ms('shutdown-grace-ms', 10_000, 'time for an orderly end', { min: 1 }),
} as const satisfies Record<string, LimitSpec>;

export type LimitName = keyof typeof LIMITS;
export type Limits = Readonly<Record<LimitName, number>>;

export const LIMIT_NAMES = Object.keys(LIMITS) as readonly LimitName[];

export const DEFAULT_LIMITS: Limits = Object.freeze(
  Object.fromEntries(LIMIT_NAMES.map((name) => [name, LIMITS[name].fallback])) as Record<LimitName, number>,
);

/**
 * The default limits, replaced by those in `values`. Unknown names and values out of range are ignored, so that a coordinator
 * and a daemon of different versions can exchange limits.
 */
export function limitsFrom(values: Readonly<Record<string, unknown>>): Limits {
  const merged: Record<LimitName, number> = { ...DEFAULT_LIMITS };
  for (const name of LIMIT_NAMES) {
    const value = values[name];
    if (typeof value === 'number' && value >= LIMITS[name].min && value <= LIMITS[name].max)
      merged[name] = value;
  }
  return Object.freeze(merged);
}
