// The queue of restores that wait or are under way, in the order in which they begin. A session has at most one job, which all
// requests for the session share.
import { sessionKey } from '../../../daemon/contract/wire.ts';

/** The restore of one session, waiting or under way. */
export interface RestoreJob {
  /** The session's key (`sessionKey`). */
  readonly sessionId: string;
  readonly workspaceId: string;
  /** Settles with the restore. Need not be awaited: an unread rejection is no error. */
  readonly done: Promise<void>;
  isStarted: boolean;
}

interface Settleable extends RestoreJob {
  readonly settle: (error: unknown) => void;
}

export class RestoreQueue {
  /** Jobs by session key, in the order of the queue. */
  readonly #jobs = new Map<string, Settleable>();

  find(sessionId: string): RestoreJob | undefined {
    return this.#jobs.get(sessionKey(sessionId));
  }

  /** All jobs in the order of the queue, also those that are started. */
  all(): readonly RestoreJob[] {
    return [...this.#jobs.values()];
  }

  /** The session's job; makes one at the end of the queue when the session has none. */
  join(sessionId: string, workspaceId: string): RestoreJob {
    const key = sessionKey(sessionId);
    const known = this.#jobs.get(key);
    if (known !== undefined) return known;
    let settle: Settleable['settle'] = () => undefined;
    const done = new Promise<void>((resolve, reject) => {
      settle = (error) => (error === undefined ? resolve() : reject(error));
    });
    // The outcome is in the store: a job that fails while no request waits for it must not become an unhandled rejection.
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

  /** Removes the job from the queue and settles it: resolved without `error`. Does nothing when the job is removed already. */
  finish({ sessionId, done }: RestoreJob, error?: unknown): void {
    const job = this.#jobs.get(sessionId);
    if (job?.done !== done) return;
    this.#jobs.delete(sessionId);
    job.settle(error);
  }
}
