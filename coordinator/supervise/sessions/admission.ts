// The cap on live sessions over all workspaces. Each daemon holds its own cap; this one only the coordinator can see.
import { type ApiError, fail } from '../../../daemon/contract/errors.ts';
import type { RoomReport } from '../fleet.ts';
import { untilAborted } from '../until-aborted.ts';

export interface SessionAdmissionOptions {
  /** 0 = unlimited. */
  readonly maxTotalSessions: number;
  /** Sessions that count: live ones, and those that come back by themselves. */
  readonly countLive: () => number;
  /** Whether the workspace has a live session in its single slot: then a `single` create only attaches. */
  readonly hasDefault: (workspaceId: string) => boolean;
  /** As `Fleet.makeSessionRoom`. */
  readonly makeRoom: (forWorkspaceId: string, limit: number) => Promise<void> | undefined;
  /** What a refusal tells of the daemons that were kept. */
  readonly report: () => RoomReport;
  /** Counts a refusal for `why`. */
  readonly refused: (workspaceId: string, error: ApiError) => void;
  /** When another try may help. */
  readonly retryAfterMs: number;
}

export class SessionAdmission {
  readonly #o: SessionAdmissionOptions;
  #underWay = 0;
  /** However many wait, one daemon at a time is put to sleep. */
  #room: Promise<void> | undefined;

  constructor(options: SessionAdmissionOptions) {
    this.#o = options;
  }

  /**
   * Takes a place for one session that becomes live; at the cap, idle daemons of other workspaces are put to sleep first.
   * Attaches never count.
   * @returns gives the place back; call it once the session is live, or will not be.
   * @throws ApiError 503 `session_limit_exceeded` with scope `total`; the signal's reason when the client leaves.
   */
  async enter(
    workspaceId: string,
    wanted: { readonly isSingle: boolean },
    signal: AbortSignal,
  ): Promise<() => void> {
    const { maxTotalSessions: limit, hasDefault } = this.#o;
    if (limit === 0 || (wanted.isSingle && hasDefault(workspaceId))) return () => undefined;
    for (let before = Number.POSITIVE_INFINITY; this.#used() >= limit; ) {
      const used = this.#used();
      // A daemon that has gone and has freed nothing (its end could not be stored) must not be followed by the next.
      const room = used < before ? this.#makeRoom(workspaceId, limit) : undefined;
      if (room === undefined) throw this.#refusal(workspaceId, limit);
      before = used;
      await untilAborted(room, signal);
    }
    this.#underWay += 1;
    let isHeld = true;
    return () => {
      if (isHeld) this.#underWay -= 1;
      isHeld = false;
    };
  }

  #used(): number {
    return this.#o.countLive() + this.#underWay;
  }

  #makeRoom(workspaceId: string, limit: number): Promise<void> | undefined {
    this.#room ??= this.#o.makeRoom(workspaceId, limit)?.finally(() => {
      this.#room = undefined;
    });
    return this.#room;
  }

  #refusal(workspaceId: string, limit: number): ApiError {
    const { refused, report, retryAfterMs } = this.#o;
    const used = this.#used();
    const refusal = fail(
      'session_limit_exceeded',
      `All workspaces together have ${used} sessions; the limit is ${limit}`,
      { limit, scope: 'total', used, requested: 1, ...report(), retryAfterMs },
      Math.ceil(retryAfterMs / 1000),
    );
    refused(workspaceId, refusal);
    return refusal;
  }
}
