// Carries ids of workspaces with sessions in the state `restoring` from the code that moved them there to the restorer, which
// subscribes. So the supervisor and the restorer need not know each other.

export type RestorableListener = (workspaceId: string) => void;

export class RestorableWorkspaces {
  readonly #listeners = new Set<RestorableListener>();

  /**
   * Calls `listener` for every workspace that is added from now on. Earlier sessions in `restoring` the subscriber has to read
   * from the store (`Restorer.resume`).
   */
  subscribe(listener: RestorableListener): void {
    this.#listeners.add(listener);
  }

  /** Calls the listeners. To be called when the workspace's sessions are `restoring` in the store, and may be restored. */
  add(workspaceId: string): void {
    for (const listener of this.#listeners) listener(workspaceId);
  }
}
