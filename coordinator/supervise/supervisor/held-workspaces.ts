// The held workspaces: a daemon of an earlier coordinator can be neither adopted nor proven dead, so no daemon is started.
import type { Log } from '../../../daemon/contract/log.ts';
import type { LaunchFacts } from '../../launch/launcher.ts';
import type { DaemonRow } from '../../store/store.ts';
import type { WorkspaceKey } from '../fleet.ts';
import type { EventJournal } from '../records/event-journal.ts';

/** A held workspace, with the row of the daemon that may still run. */
export interface Held {
  readonly workspace: WorkspaceKey;
  readonly row: DaemonRow;
  readonly why: string;
  readonly facts: LaunchFacts;
  /** Whether the row's daemon may run and so counts against the limit; false when its start was cut and no daemon was found. */
  readonly mayRun: boolean;
}

/** The `why` during the first look for a daemon. It comes at every start of a coordinator, so it gets no event row. */
export const LOOKED_FOR = 'it is still being located';

export class HeldWorkspaces {
  readonly #journal: Pick<EventJournal, 'note'>;
  readonly #log: Log;
  readonly #held = new Map<string, Held>();

  constructor(journal: Pick<EventJournal, 'note'>, log: Log) {
    this.#journal = journal;
    this.#log = log;
  }

  /** The workspace's entry; undefined when the workspace is not held. */
  of(workspaceId: string): Held | undefined {
    return this.#held.get(workspaceId);
  }

  list(): readonly Held[] {
    return [...this.#held.values()];
  }

  /** Holds the workspace. Replaces the entry, and so the reason, of a workspace that is held already. */
  hold(held: Held): void {
    const { workspace, row, why, facts } = held;
    const known = this.#held.get(workspace.id);
    if (known?.why !== why) this.#log.info({ incarnation: row.incarnation, ...facts, why }, 'workspace held');
    if (known?.why !== why && why !== LOOKED_FOR) this.#note('workspace_held', row, { why, ...facts });
    this.#held.set(workspace.id, held);
  }

  /** Ends the hold of the row's workspace. Does nothing when it is held for another row, or not held. */
  free(row: DaemonRow): void {
    const held = this.#held.get(row.workspaceId);
    if (held?.row.incarnation !== row.incarnation) return;
    this.#held.delete(row.workspaceId);
    if (held.why !== LOOKED_FOR) this.#note('workspace_released', row, {});
  }

  /** Ends every hold whose row is not in `unended`: its daemon was ended by hand, or its workspace removed. */
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
