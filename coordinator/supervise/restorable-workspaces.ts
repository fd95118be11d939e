// Workspaces in which sessions are to come back by themselves. Whoever moves sessions into the state `restoring` adds the
// workspace here; the restorer subscribes. So the supervisor and the restorer need not know each other.

export type RestorableListener = (workspaceId: string) => void;

export class RestorableWorkspaces {
  readonly #listeners = new Set<RestorableListener>();

  /**
   * Calls `listener` for every workspace that is added from now on. Sessions that were in `restoring` before are in the
   * store, where the subscriber finds them.
   */
  subscribe(listener: RestorableListener): void {
    this.#listeners.add(listener);
  }

  /** Sessions of the workspace are in the state `restoring` in the store, and may be brought back from now on. */
  add(workspaceId: string): void {
    for (const listener of this.#listeners) listener(workspaceId);
  }
}
