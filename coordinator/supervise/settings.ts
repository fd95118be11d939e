// All settings of supervision: for each its default, its range, its help text, and the reason for the value where there is one.
// flags.ts makes a flag of each setting; config.ts reads the configured values.
import type { RestartPolicy } from '../domain/restart-policy.ts';

/** A setting: one whole number that an operator may configure, and its range. */
export interface SettingSpec {
  readonly fallback: number;
  readonly min: number;
  readonly max: number;
  readonly help: string;
}

/** The longest delay of a Node timer; a timer with a longer delay would fire at once. */
const MAX_NUMBER = 2 ** 31 - 1;
/** Shortest period of a periodic job: a shorter one would keep a core busy. */
const MIN_PERIOD_MS = 10;
const KiB = 1024;
const MiB = 1024 * KiB;

const setting = (fallback: number, help: string, min = 1, max = MAX_NUMBER): SettingSpec => ({
  fallback,
  min,
  max,
  help,
});

const period = (fallback: number, help: string) => setting(fallback, help, MIN_PERIOD_MS);

/** The settings except the restart policy. Names of durations end in `Ms`, of sizes in `Bytes`; other settings are counts. */
export const SUPERVISION = {
  maxDaemons: setting(0, 'daemons that may run at once; 0 = unlimited', 0),
  /** Limited because each start of a daemon keeps a core busy for a while. */
  maxConcurrentStarts: setting(4, 'daemons that may be starting at the same time'),
  /** Counted from the spawn to the daemon's ready line. */
  startTimeoutMs: setting(20_000, 'from the spawn of a daemon until it answers'),
  /** Counted from the daemon's ready line until the first snapshot of its feed is stored. */
  feedReadyTimeoutMs: setting(10_000, 'from its answer until its sessions are known'),
  /** Longer than startTimeoutMs and feedReadyTimeoutMs together, so that a request gets the true reason for its refusal. */
  waiterDeadlineMs: setting(45_000, 'how long a request waits for its daemon'),
  maxWaiters: setting(256, 'requests that may wait for one daemon'),
  idleTimeoutMs: setting(
    30 * 60_000,
    'a daemon without client activity for this long is stopped; 0 = never',
    0,
  ),
  watchedIdleTimeoutMs: setting(
    8 * 60 * 60_000,
    'the same while clients are only watching (streams, heartbeats)',
  ),
  idleCheckPeriodMs: period(15_000, 'how often idle daemons are checked for'),
  drainTimeoutMs: setting(30_000, 'how long a stopping daemon waits for its turns to end', 0),
  /** Longer than the daemon's shutdown grace, in which it ends its agent in order: SIGKILL would cut that short. */
  stopGraceMs: setting(15_000, 'from SIGTERM to SIGKILL; longer than shutdown-grace-ms'),
  restoreConcurrency: setting(3, 'sessions of one workspace that are restored at the same time'),
  /** Longer than the daemon's limit for the agent's `session/load`, so that the daemon can still answer with a refusal. */
  restoreTimeoutMs: setting(75_000, 'longest restore of one session; longer than session-restore-timeout-ms'),
  restoreWaitMs: setting(20_000, 'how long requests wait for a session that is being restored', 0),
  feedReconnectMs: period(
    250,
    "first wait before reconnecting to a daemon's feed; doubles up to 16 times this",
  ),
  /** A feed's snapshot is one line. The maximum is well below the longest string of Node. */
  feedMaxLineBytes: setting(
    16 * MiB,
    'longest line of a feed; a snapshot needs some 400 bytes a session',
    64 * KiB,
    256 * MiB,
  ),
  /** After this time the coordinator stores what the daemon's answer itself shows (records/answer-recorder.ts). */
  feedStoredWaitMs: setting(
    2000,
    'how long an answer is held until its session or prompt is stored from the feed',
  ),
  seenFlushMs: period(1000, 'how often heartbeats are written; a crash may lose this much'),
  /** Limited, because 10,000 rows in one transaction blocked the event loop for 73 ms and more. */
  seenBatchRows: setting(500, 'heartbeats written in one transaction', 1, 10_000),
  /** domain/liveness.ts explains this setting and the next two, and computes the bound that follows from them. */
  beatTimeoutFactor: setting(4, 'missing beats before a daemon is probed'),
  livenessPeriodMs: period(5000, 'how often missing beats are checked for'),
  probeTimeoutMs: setting(5000, 'time for a probed daemon to answer'),
  adoptTimeoutMs: setting(5000, 'time to verify one daemon of an earlier coordinator'),
  reconcilePeriodMs: period(5000, 'how often daemons that could not be verified are rechecked'),
  logRotatePeriodMs: period(60_000, 'how often log sizes are checked'),
  storeUpkeepPeriodMs: period(
    10_000,
    'how often expired rows are deleted and the write-ahead log is truncated',
  ),
} as const satisfies Record<string, SettingSpec>;

/** The settings of the restart policy. Its jitter is no setting, because it is a fraction. */
export const RESTARTS = {
  intensity: setting(5, 'deaths within restart-period-ms that are still followed by a restart', 0),
  periodMs: setting(60_000, 'period in which deaths are counted'),
  firstBackoffMs: setting(500, 'wait after the first death; doubles with every further one', 0),
  maxBackoffMs: setting(30_000, 'longest wait after a death; not shorter than restart-first-backoff-ms', 0),
  coolOffMs: setting(60_000, 'how long a workspace refuses requests after too many deaths', 0),
} as const satisfies Record<Exclude<keyof RestartPolicy, 'jitter'>, SettingSpec>;

const RESTART_JITTER = 0.25;

type Numbers<T> = { readonly [K in keyof T]: number };

export type SuperviseSettings = Numbers<typeof SUPERVISION> & { readonly restart: RestartPolicy };

type ReadNumber = (key: string, spec: SettingSpec) => number;

/** Reads all settings of supervision: `read` gives the number for a key of `SUPERVISION`, `readRestart` for one of `RESTARTS`. */
export function superviseSettings(read: ReadNumber, readRestart: ReadNumber): SuperviseSettings {
  return Object.freeze({
    ...numbersOf(SUPERVISION, read),
    restart: Object.freeze({ ...numbersOf(RESTARTS, readRestart), jitter: RESTART_JITTER }),
  });
}

function numbersOf<T extends Readonly<Record<string, SettingSpec>>>(table: T, read: ReadNumber): Numbers<T> {
  return Object.fromEntries(Object.entries(table).map(([key, spec]) => [key, read(key, spec)])) as Numbers<T>;
}

const fallbackOf: ReadNumber = (_key, { fallback }) => fallback;

export const DEFAULT_SUPERVISE_SETTINGS: SuperviseSettings = superviseSettings(fallbackOf, fallbackOf);
