// What stands against new work before a daemon is asked for it: a drained workspace, a daemon that finishes its turns, and a
// database that cannot take a turn. Every refusal given here is counted for `why`.
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
   * Checks that a turn could be stored. A turn must not begin that would have to be taken back.
   * @throws ApiError 507 `storage_unavailable`.
   */
  checkStorable(workspace: WorkspaceKey): void {
    const refusal = this.#deps.fleet.storeRefusalOf(workspace.id);
    if (refusal instanceof ApiError && isStorageRefusal(refusal)) throw this.#counted(workspace, refusal);
  }

  /** The 503 `workspace_draining` for work that comes while the daemon finishes its turns. */
  finishingRefusal(workspace: WorkspaceKey): ApiError {
    const reason = 'its daemon is finishing its turns';
    return this.#counted(workspace, refusals.draining(workspace, reason));
  }

  #counted(workspace: WorkspaceKey, refusal: ApiError): ApiError {
    this.#deps.journal.refused(workspace.id, refusal);
    return refusal;
  }
}
