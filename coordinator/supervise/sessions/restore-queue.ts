// The restores that are wanted or under way, in the order in which they are to begin. There is one job for each session, and
// every client that wants the session joins that job.
import { sessionKey } from '../../../daemon/contract/wire.ts';

export interface RestoreJob {
  /** The session's key (`sessionKey`). */
  readonly sessionId: string;
  readonly workspaceId: string;
  /** Settles with the restore. It may be left unawaited. */
  readonly done: Promise<void>;
  isStarted: boolean;
}

interface Settleable extends RestoreJob {
  readonly settle: (error: unknown) => void;
}

export class RestoreQueue {
  /** Jobs by session key. The map's order is the queue's. */
  readonly #jobs = new Map<string, Settleable>();

  find(sessionId: string): RestoreJob | undefined {
    return this.#jobs.get(sessionKey(sessionId));
  }

  /** All jobs in order, started or not. */
  all(): readonly RestoreJob[] {
    return [...this.#jobs.values()];
  }

  /** The session's job; a new job goes to the end of the queue. */
  join(sessionId: string, workspaceId: string): RestoreJob {
    const key = sessionKey(sessionId);
    const known = this.#jobs.get(key);
    if (known !== undefined) return known;
    let settle: Settleable['settle'] = () => undefined;
    const done = new Promise<void>((resolve, reject) => {
      settle = (error) => (error === undefined ? resolve() : reject(error));
    });
    // The outcome is in the store, so a job that fails while no client waits for it is no unhandled rejection.
    done.catch(() => undefined);
    const job: Settleable = { sessionId: key, workspaceId, done, settle, isStarted: false };
    this.#jobs.set(key, job);
    return job;
  }

  toFront({ sessionId }: RestoreJob): void {
    const job = this.#jobs.get(sessionId);
    if (job === undefined) return;
    const others = [...this.#jobs].filter(([, other]) => other !== job);
    this.#jobs.clear();
    this.#jobs.set(sessionId, job);
    for (const [key, other] of others) this.#jobs.set(key, other);
  }

  /** Takes the job out of the queue and settles it; `error` undefined is success. A job that is out already stays as it is. */
  finish({ sessionId, done }: RestoreJob, error?: unknown): void {
    const job = this.#jobs.get(sessionId);
    if (job?.done !== done) return;
    this.#jobs.delete(sessionId);
    job.settle(error);
  }
}
