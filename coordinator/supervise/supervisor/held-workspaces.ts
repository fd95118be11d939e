// Workspaces in which nothing may be started: a daemon of an earlier coordinator can be neither adopted nor proven dead there.
import type { Log } from '../../../daemon/contract/log.ts';
import type { LaunchFacts } from '../../launch/launcher.ts';
import type { DaemonRow } from '../../store/store.ts';
import type { WorkspaceKey } from '../fleet.ts';
import type { EventJournal } from '../records/event-journal.ts';

/** A row whose daemon may be alive without being ours to use. */
export interface Held {
  readonly workspace: WorkspaceKey;
  readonly row: DaemonRow;
  readonly why: string;
  readonly facts: LaunchFacts;
  /** False where its start was interrupted and nothing was found of it so far. */
  readonly mayRun: boolean;
}

/** Why a workspace is held while its daemon is first looked for. Every start begins with it; it is worth no record. */
export const LOOKED_FOR = 'it is still being located';

export class HeldWorkspaces {
  readonly #journal: Pick<EventJournal, 'note'>;
  readonly #log: Log;
  readonly #held = new Map<string, Held>();

  constructor(journal: Pick<EventJournal, 'note'>, log: Log) {
    this.#journal = journal;
    this.#log = log;
  }

  /** What keeps the workspace from a start; undefined when nothing does. */
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

  /** Holds the workspace no longer for this row. Nothing when it is held for another one, or not at all. */
  release(row: DaemonRow): void {
    const held = this.#held.get(row.workspaceId);
    if (held?.row.incarnation !== row.incarnation) return;
    this.#held.delete(row.workspaceId);
    if (held.why !== LOOKED_FOR) this.#note('workspace_released', row, {});
  }

  /** Releases every workspace whose row is not among those that are still unended: ended by hand, workspace removed. */
  releaseEnded(unended: readonly DaemonRow[]): void {
    for (const { row } of this.list())
      if (!unended.some(({ incarnation }) => incarnation === row.incarnation)) this.release(row);
  }

  #note(
    kind: string,
    { workspaceId, incarnation }: DaemonRow,
    detail: Readonly<Record<string, unknown>>,
  ): void {
    this.#journal.note({ kind, workspaceId, incarnation, detail });
  }
}
