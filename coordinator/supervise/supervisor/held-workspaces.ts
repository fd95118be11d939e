// The held workspaces: a daemon of an earlier coordinator can be neither adopted nor proven dead, so no daemon is started.
import type { Log } from '../../../daemon/contract/log.ts';
import type { LaunchFacts } from '../../launch/launcher.ts';
import type { DaemonRow } from '../../store/store.ts';
import type { WorkspaceKey } from '../fleet.ts';
import type { EventJournal } from '../records/event-journal.ts';

/** One reason why a workspace is held: the row of a daemon that may still run. */
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
  /** By incarnation, because a workspace can have several unended rows and stays held until the last of them is settled. */
  readonly #held = new Map<string, Held>();

  constructor(journal: Pick<EventJournal, 'note'>, log: Log) {
    this.#journal = journal;
    this.#log = log;
  }

  /** What holds the workspace, a row that was searched before one that is still being searched; undefined when it is not held. */
  of(workspaceId: string): Held | undefined {
    const own = this.list().filter(({ workspace }) => workspace.id === workspaceId);
    return own.find(({ why }) => why !== LOOKED_FOR) ?? own[0];
  }

  /** Every row that holds its workspace. */
  list(): readonly Held[] {
    return [...this.#held.values()];
  }

  /** Holds the row's workspace. Replaces the reason when the workspace is held for this row already. */
  hold(held: Held): void {
    const { row, why, facts } = held;
    const known = this.#held.get(row.incarnation);
    if (known?.why !== why) this.#log.info({ incarnation: row.incarnation, ...facts, why }, 'workspace held');
    if (known?.why !== why && why !== LOOKED_FOR) this.#note('workspace_held', row, { why, ...facts });
    this.#held.set(row.incarnation, held);
  }

  /** Frees the workspace of this row, unless another row holds it too. Does nothing for a row that holds no workspace. */
  free(row: DaemonRow): void {
    const held = this.#held.get(row.incarnation);
    if (held === undefined) return;
    this.#held.delete(row.incarnation);
    if (held.why !== LOOKED_FOR && this.of(row.workspaceId) === undefined)
      this.#note('workspace_released', row, {});
  }

  /** As `free`, for every row that is not in `unended`: its daemon was ended by hand, or its workspace removed. */
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
