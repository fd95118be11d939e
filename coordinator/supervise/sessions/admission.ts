// The cap on live sessions over all workspaces. A daemon enforces the cap of its own workspace; this cap only the coordinator
// can see.
import { type ApiError, fail } from '../../../daemon/contract/errors.ts';
import type { Fleet } from '../fleet.ts';
import type { EventJournal } from '../records/event-journal.ts';
import { untilAborted } from '../until-aborted.ts';

export interface SessionAdmissionDeps {
  /** 0 = unlimited. */
  readonly maxTotalSessions: number;
  /** Number of sessions that count against the cap: live ones, and those that come back by themselves. */
  readonly countLive: () => number;
  /** Whether the workspace has a live session in its single slot: then a `single` create only attaches. */
  readonly hasDefault: (workspaceId: string) => boolean;
  readonly fleet: Pick<Fleet, 'makeSessionRoom' | 'roomReport'>;
  readonly journal: Pick<EventJournal, 'refused'>;
  /** What a refusal says of when another try may help. */
  readonly retryAfterMs: number;
}

export class SessionAdmission {
  readonly #deps: SessionAdmissionDeps;
  /** Sessions that were admitted and are not live yet. */
  #underWay = 0;
  /** Settles when room has been made. However many requests wait, one daemon at a time is put to sleep. */
  #room: Promise<void> | undefined;

  constructor(deps: SessionAdmissionDeps) {
    this.#deps = deps;
  }

  /**
   * Admits one session that is about to become live. At the cap, idle daemons of other workspaces are put to sleep first.
   * Attaches are always admitted.
   * @returns a function to call once the session is live, or will not be: until then the session counts as under way.
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
      // Where a daemon has gone and no session was freed (its end could not be stored), the next daemon must not go as well.
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
