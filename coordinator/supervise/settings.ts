// Every number of supervision, with its default and the reason for it. The composition root overrides what was configured.
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
  /** Beats that may be missing before a daemon is asked whether it lives. */
  readonly beatTimeoutFactor: number;
  readonly livenessPeriodMs: number;
  /** Time for an answer to the identity probe. */
  readonly probeTimeoutMs: number;
  /** Deadline for finding one daemon of an earlier coordinator again. */
  readonly adoptTimeoutMs: number;
  /** Period in which rows without a verified process are looked at again. */
  readonly reconcilePeriodMs: number;
  readonly logRotatePeriodMs: number;
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
  beatTimeoutFactor: 4,
  livenessPeriodMs: 5000,
  probeTimeoutMs: 5000,
  adoptTimeoutMs: 5000,
  reconcilePeriodMs: 5000,
  logRotatePeriodMs: 60_000,
  restart: Object.freeze({
    intensity: 5,
    periodMs: 60_000,
    firstBackoffMs: 500,
    maxBackoffMs: 30_000,
    jitter: 0.25,
    coolOffMs: 60_000,
  }),
});
