// The cap on live sessions over all workspaces. Each daemon holds its own cap; this one only the coordinator can see.
import { fail } from '../../daemon/contract/errors.ts';

export interface SessionAdmissionOptions {
  /** 0 = unlimited. */
  readonly maxTotalSessions: number;
  readonly countLive: () => number;
  /** Whether the workspace has a live session in its single slot: then a `single` create only attaches. */
  readonly hasDefault: (workspaceId: string) => boolean;
}

export class SessionAdmission {
  readonly #o: SessionAdmissionOptions;
  #underWay = 0;

  constructor(options: SessionAdmissionOptions) {
    this.#o = options;
  }

  /**
   * Takes a place for one create. Attaches never count.
   * @returns gives the place back; call it once the create has ended, however that was.
   * @throws ApiError 503 `session_limit_exceeded` with scope `total`.
   */
  enter(workspaceId: string, wanted: { readonly isSingle: boolean }): () => void {
    const { maxTotalSessions: limit, countLive, hasDefault } = this.#o;
    if (limit === 0 || (wanted.isSingle && hasDefault(workspaceId))) return () => undefined;
    const used = countLive() + this.#underWay;
    if (used >= limit)
      throw fail(
        'session_limit_exceeded',
        `All workspaces together have ${used} sessions; the limit is ${limit}`,
        {
          limit,
          scope: 'total',
        },
      );
    this.#underWay += 1;
    let isHeld = true;
    return () => {
      if (isHeld) this.#underWay -= 1;
      isHeld = false;
    };
  }
}
