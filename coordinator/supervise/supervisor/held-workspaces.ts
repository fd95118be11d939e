// Workspaces in which nothing may be started: a daemon of an earlier coordinator can be neither adopted nor proven dead there.
import type { Log } from '../../../daemon/contract/log.ts';
import type { LaunchFacts } from '../../launch/launcher.ts';
import type { DaemonRow } from '../../store/store.ts';
import type { WorkspaceKey } from '../fleet.ts';
import type { EventJournal } from '../records/event-journal.ts';

/** A workspace whose row has a daemon that may run and may not be this coordinator's to use. */
export interface Held {
  readonly workspace: WorkspaceKey;
  readonly row: DaemonRow;
  readonly why: string;
  readonly facts: LaunchFacts;
  /** False where the daemon's start was interrupted and no daemon was found so far. */
  readonly mayRun: boolean;
}

/** Why a workspace is held while its daemon is first looked for. Every start of a coordinator does that; it gets no event row. */
export const LOOKED_FOR = 'it is still being located';

export class HeldWorkspaces {
  readonly #journal: Pick<EventJournal, 'note'>;
  readonly #log: Log;
  readonly #held = new Map<string, Held>();

  constructor(journal: Pick<EventJournal, 'note'>, log: Log) {
    this.#journal = journal;
    this.#log = log;
  }

  /** Why no daemon may be started in the workspace; undefined when it is not held. */
  of(workspaceId: string): Held | undefined {
    return this.#held.get(workspaceId);
  }

  list(): readonly Held[] {
    return [...this.#held.values()];
  }

  /** Holds the workspace, or goes on holding it for another reason. */
  hold(held: Held): void {
    const { workspace, row, why, facts } = held;
    const known = this.#held.get(workspace.id);
    if (known?.why !== why) this.#log.info({ incarnation: row.incarnation, ...facts, why }, 'workspace held');
    if (known?.why !== why && why !== LOOKED_FOR) this.#note('workspace_held', row, { why, ...facts });
    this.#held.set(workspace.id, held);
  }

  /** Ends the hold that this row was the reason of. Does nothing when the workspace is held for another row, or not at all. */
  free(row: DaemonRow): void {
    const held = this.#held.get(row.workspaceId);
    if (held?.row.incarnation !== row.incarnation) return;
    this.#held.delete(row.workspaceId);
    if (held.why !== LOOKED_FOR) this.#note('workspace_released', row, {});
  }

  /** Ends every hold whose row is not among the unended ones: the daemon was ended by hand, or its workspace removed. */
  freeEnded(unended: readonly DaemonRow[]): void {
    for (const { row } of this.list())
      if (!unended.some(({ incarnation }) => incarnation === row.incarnation)) this.free(row);
  }

  #note(
    kind: string,
    { workspaceId, incarnation }: DaemonRow,
    detail: Readonly<Record<string, unknown>>,
  ): void {
    this.#journal.note({ kind, workspaceId, incarnation, detail });
  }
}
