// Enforces the limit on live sessions of all workspaces together (`--max-total-sessions`). The limit of a single workspace is
// enforced by its daemon.
import { type ApiError, fail } from '../../../daemon/contract/errors.ts';
import type { Fleet } from '../fleet.ts';
import type { EventJournal } from '../records/event-journal.ts';
import { untilAborted } from '../until-aborted.ts';

export interface SessionAdmissionDeps {
  /** `--max-total-sessions`; 0 = unlimited. */
  readonly maxTotalSessions: number;
  /** Number of live and restoring sessions of all workspaces: what counts against the limit. */
  readonly countLive: () => number;
  /** Whether the workspace has a live default session: then a create with scope `single` only attaches. */
  readonly hasDefault: (workspaceId: string) => boolean;
  readonly fleet: Pick<Fleet, 'makeSessionRoom' | 'roomReport'>;
  readonly journal: Pick<EventJournal, 'refused'>;
  /** Time after which a refused client should try again. */
  readonly retryAfterMs: number;
}

export class SessionAdmission {
  readonly #deps: SessionAdmissionDeps;
  /** Number of sessions that were admitted and are not live yet. */
  #underWay = 0;
  /** The eviction under way, shared by all requests that wait for room: one daemon at a time is ended. Undefined when none is. */
  #room: Promise<void> | undefined;

  constructor(deps: SessionAdmissionDeps) {
    this.#deps = deps;
  }

  /**
   * Admits one session that is about to become live. At the limit, ends idle daemons of other workspaces first. A create that
   * only attaches is always admitted.
   * @returns a function to call once the session is live or its start has failed: until then it counts beside the live sessions.
   * @throws ApiError 503 `session_limit_exceeded` with scope `total`; the signal's reason when the client leaves.
   */
  async enter(
    workspaceId: string,
    wanted: { readonly isSingle: boolean },
    signal: AbortSignal,
  ): Promise<() => void> {
    const { maxTotalSessions: limit, hasDefault } = this.#deps;
    if (limit === 0 || (wanted.isSingle && hasDefault(workspaceId))) return () => undefined;
    for (let before = Number.POSITIVE_INFINITY; this.#used() >= limit; ) {
      const used = this.#used();
      // If the eviction freed no session, because the daemon's end could not be stored, no further daemon is ended.
      const room = used < before ? this.#makeRoom(workspaceId, limit) : undefined;
      if (room === undefined) throw this.#refusal(workspaceId, limit);
      before = used;
      await untilAborted(room, signal);
    }
    this.#underWay += 1;
    let isUnderWay = true;
    return () => {
      if (isUnderWay) this.#underWay -= 1;
      isUnderWay = false;
    };
  }

  #used(): number {
    return this.#deps.countLive() + this.#underWay;
  }

  #makeRoom(workspaceId: string, limit: number): Promise<void> | undefined {
    this.#room ??= this.#deps.fleet.makeSessionRoom(workspaceId, limit)?.finally(() => {
      this.#room = undefined;
    });
    return this.#room;
  }

  #refusal(workspaceId: string, limit: number): ApiError {
    const { fleet, journal, retryAfterMs } = this.#deps;
    const used = this.#used();
    const refusal = fail(
      'session_limit_exceeded',
      `All workspaces together have ${used} sessions; the limit is ${limit}`,
      { limit, scope: 'total', used, requested: 1, ...fleet.roomReport(), retryAfterMs },
      Math.ceil(retryAfterMs / 1000),
    );
    journal.refused(workspaceId, refusal);
    return refusal;
  }
}
