// Every number of supervision, with its default and the reason for it. The composition root overrides what was configured.
import { LIVENESS_THRESHOLDS } from '../domain/liveness.ts';
import type { RestartPolicy } from '../domain/restart-policy.ts';

export interface SuperviseSettings {
  /** Daemons that may run at once; 0 = unlimited. */
  readonly maxDaemons: number;
  /** From the spawn to the ready line. */
  readonly startTimeoutMs: number;
  /** From the ready line to the first feed snapshot in the store. */
  readonly feedReadyTimeoutMs: number;
  /** How long a request may wait for its daemon. Longer than the two above, so that it hears the true reason. */
  readonly waiterDeadlineMs: number;
  /** Requests that may wait for one daemon. */
  readonly maxWaiters: number;
  /** How long a stopping daemon may wait for its turns to end. */
  readonly drainTimeoutMs: number;
  /** From SIGTERM to SIGKILL. Longer than the daemon's own shutdown grace (10 s), which ends its agent in order. */
  readonly stopGraceMs: number;
  /** First wait before the feed is asked for again; doubles up to 16 times this. */
  readonly feedReconnectMs: number;
  /** Longest feed line. A snapshot is one line: some 400 bytes a session. */
  readonly feedMaxLineBytes: number;
  /** How long an answer is held for its feed record before the caller records what it saw itself. */
  readonly feedStoredWaitMs: number;
  /** Period in which heartbeats are written; they may lose this much. */
  readonly seenFlushMs: number;
  /** Heartbeat rows in one transaction: 10,000 at once blocked the event loop for 73 ms and more. */
  readonly seenBatchRows: number;
  /** These three are explained, and their bound computed, in domain/liveness.ts. */
  readonly beatTimeoutFactor: number;
  readonly livenessPeriodMs: number;
  readonly probeTimeoutMs: number;
  /** Deadline for finding one daemon of an earlier coordinator again. */
  readonly adoptTimeoutMs: number;
  /** Period in which rows without a verified process are looked at again. */
  readonly reconcilePeriodMs: number;
  readonly logRotatePeriodMs: number;
  /** Period in which the store forgets what is too old, and checkpoints. */
  readonly storeUpkeepPeriodMs: number;
  /** Daemons that may be starting at the same time: each costs a core for a while. */
  readonly maxConcurrentStarts: number;
  /** Sessions of one workspace that are brought back at the same time. */
  readonly restoreConcurrency: number;
  /** Longest restore of one session. Longer than the daemon's own budget for the agent's load (60 s). */
  readonly restoreTimeoutMs: number;
  /** How long passive requests wait for a session that is being brought back. */
  readonly restoreWaitMs: number;
  /** Daemon without a gesture for this long is stopped; 0 = never. */
  readonly idleTimeoutMs: number;
  /** The same while clients look on (streams, heartbeats). */
  readonly watchedIdleTimeoutMs: number;
  readonly idleCheckPeriodMs: number;
  readonly restart: RestartPolicy;
}

export const DEFAULT_SUPERVISE_SETTINGS: SuperviseSettings = Object.freeze({
  maxDaemons: 0,
  startTimeoutMs: 20_000,
  feedReadyTimeoutMs: 10_000,
  waiterDeadlineMs: 45_000,
  maxWaiters: 256,
  drainTimeoutMs: 30_000,
  stopGraceMs: 15_000,
  feedReconnectMs: 250,
  feedMaxLineBytes: 16 * 1024 * 1024,
  feedStoredWaitMs: 2000,
  seenFlushMs: 1000,
  seenBatchRows: 500,
  beatTimeoutFactor: LIVENESS_THRESHOLDS.beatTimeoutFactor.fallback,
  livenessPeriodMs: LIVENESS_THRESHOLDS.livenessPeriodMs.fallback,
  probeTimeoutMs: LIVENESS_THRESHOLDS.probeTimeoutMs.fallback,
  adoptTimeoutMs: 5000,
  reconcilePeriodMs: 5000,
  logRotatePeriodMs: 60_000,
  storeUpkeepPeriodMs: 10_000,
  maxConcurrentStarts: 4,
  restoreConcurrency: 3,
  restoreTimeoutMs: 75_000,
  restoreWaitMs: 20_000,
  idleTimeoutMs: 30 * 60_000,
  watchedIdleTimeoutMs: 8 * 60 * 60_000,
  idleCheckPeriodMs: 15_000,
  restart: Object.freeze({
    intensity: 5,
    periodMs: 60_000,
    firstBackoffMs: 500,
    maxBackoffMs: 30_000,
    jitter: 0.25,
    coolOffMs: 60_000,
  }),
});
