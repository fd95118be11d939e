// Workspaces in which sessions are to come back by themselves. The code that moves sessions into the state `restoring` adds their
// workspace here, and the restorer subscribes, so that the supervisor and the restorer need not know each other.

export type RestorableListener = (workspaceId: string) => void;

export class RestorableWorkspaces {
  readonly #listeners = new Set<RestorableListener>();

  /**
   * Calls `listener` for every workspace that is added from now on. Sessions that were in `restoring` before are found in the
   * store by the subscriber.
   */
  subscribe(listener: RestorableListener): void {
    this.#listeners.add(listener);
  }

  /** Sessions of the workspace are in the state `restoring` in the store, and may be brought back from now on. */
  add(workspaceId: string): void {
    for (const listener of this.#listeners) listener(workspaceId);
  }
}
