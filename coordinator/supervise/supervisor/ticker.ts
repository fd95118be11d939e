// Runs periodic jobs: each in its own period and never twice at the same time. A failure is logged, and the next period retries.
import type { Clock, Timer } from '../../../daemon/contract/clock.ts';
import type { Log } from '../../../daemon/contract/log.ts';

export interface Job {
  readonly name: string;
  readonly periodMs: number;
  readonly run: () => Promise<void> | void;
}

export interface Ticker {
  /** Starts no more jobs; resolves when the jobs under way have ended. Idempotent. */
  stop(): Promise<void>;
}

/** Starts the timers of all jobs. Each job runs first after one period. */
export function startTicker(clock: Clock, log: Log, jobs: readonly Job[]): Ticker {
  const running = new Map<string, Promise<void>>();
  const timers: Timer[] = jobs.map((job) =>
    clock.every(job.periodMs, () => {
      if (running.has(job.name)) return;
      const run = attempt(job, log).finally(() => running.delete(job.name));
      running.set(job.name, run);
    }),
  );
  return {
    async stop() {
      for (const timer of timers) timer.cancel();
      await Promise.all(running.values());
    },
  };
}

async function attempt(job: Job, log: Log): Promise<void> {
  try {
    await job.run();
  } catch (error) {
    log.error({ err: error, job: job.name }, 'periodic work failed');
  }
}
