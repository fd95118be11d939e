// Refuses new work before a daemon is asked for it: in a drained workspace, while the daemon finishes its turns, and while the
// database cannot store a turn. Every refusal is counted for `why`.
import { ApiError } from '../../daemon/contract/errors.ts';
import type { RouteClass } from '../domain/route-classes.ts';
import { isStorageRefusal } from '../store/storage-refusal.ts';
import type { Fleet, WorkspaceKey } from '../supervise/fleet.ts';
import type { EventJournal } from '../supervise/records/event-journal.ts';
import * as refusals from '../supervise/refusals.ts';
import type { Maintenance } from '../supervise/workspaces/maintenance.ts';

export interface WorkGateDeps {
  readonly maintenance: Pick<Maintenance, 'drainReasonOf'>;
  readonly fleet: Pick<Fleet, 'storeRefusalOf'>;
  readonly journal: Pick<EventJournal, 'refused'>;
}

export class WorkGate {
  readonly #deps: WorkGateDeps;

  constructor(deps: WorkGateDeps) {
    this.#deps = deps;
  }

  /** @throws ApiError 503 `workspace_draining` while the workspace takes no new work of this route class. */
  checkDrain(workspace: WorkspaceKey, routeClass: RouteClass): void {
    const reason = this.#deps.maintenance.drainReasonOf(workspace.id, routeClass);
    if (reason !== undefined) throw this.#counted(workspace, refusals.draining(workspace, reason));
  }

  /**
   * Checks that the store would take a turn of the workspace, because a turn that cannot be stored would have to be taken back.
   * @throws ApiError 507 `storage_unavailable` when the store would refuse the turn.
   */
  checkStorable(workspace: WorkspaceKey): void {
    const refusal = this.#deps.fleet.storeRefusalOf(workspace.id);
    if (refusal instanceof ApiError && isStorageRefusal(refusal)) throw this.#counted(workspace, refusal);
  }

  /** Makes, and counts, the 503 `workspace_draining` for new work that comes while the daemon finishes its turns. */
  finishingRefusal(workspace: WorkspaceKey): ApiError {
    const reason = 'its daemon is finishing its turns';
    return this.#counted(workspace, refusals.draining(workspace, reason));
  }

  #counted(workspace: WorkspaceKey, refusal: ApiError): ApiError {
    this.#deps.journal.refused(workspace.id, refusal);
    return refusal;
  }
}
