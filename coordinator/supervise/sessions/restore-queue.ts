// The restores that are wanted or under way: one job a session, which everybody who wants the session joins, in the order
// in which they are to begin.
import { sessionKey } from '../../../daemon/contract/wire.ts';

export interface RestoreJob {
  /** Its key (`sessionKey`). */
  readonly sessionId: string;
  readonly workspaceId: string;
  /** Settles with the restore. Nobody has to wait for it. */
  readonly done: Promise<void>;
  isStarted: boolean;
}

interface Settleable extends RestoreJob {
  readonly settle: (error: unknown) => void;
}

export class RestoreQueue {
  /** The map's order is the queue's. */
  readonly #jobs = new Map<string, Settleable>();

  find(sessionId: string): RestoreJob | undefined {
    return this.#jobs.get(sessionKey(sessionId));
  }

  /** Started or not, in order. */
  all(): readonly RestoreJob[] {
    return [...this.#jobs.values()];
  }

  /** The session's job; a new one goes to the end. */
  join(sessionId: string, workspaceId: string): RestoreJob {
    const key = sessionKey(sessionId);
    const known = this.#jobs.get(key);
    if (known !== undefined) return known;
    let settle: Settleable['settle'] = () => undefined;
    const done = new Promise<void>((resolve, reject) => {
      settle = (error) => (error === undefined ? resolve() : reject(error));
    });
    // The outcome is in the store, whether anybody waits or not.
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

  /** Takes the job out and settles it; `error` undefined is success. Nothing for a job that is out already. */
  finish({ sessionId, done }: RestoreJob, error?: unknown): void {
    const job = this.#jobs.get(sessionId);
    if (job?.done !== done) return;
    this.#jobs.delete(sessionId);
    job.settle(error);
  }
}
