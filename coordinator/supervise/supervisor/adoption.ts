// Adoption: at start and on a timer, finds the daemon of every unended row without a controller, and takes it over or records its
// end. While neither is proven, the daemon is left alone and its workspace is held, so that no second daemon is started.
import type { DaemonIdentity } from '../../../daemon/contract/control.ts';
import { messageOf } from '../../../daemon/contract/errors.ts';
import { CONTRACT_VERSION } from '../../../daemon/contract/handshake.ts';
import type { Log } from '../../../daemon/contract/log.ts';
import type { DaemonExit, DaemonProcess, LaunchFacts, Whereabouts } from '../../launch/launcher.ts';
import type { DaemonRow, Store } from '../../store/store.ts';
import { type Reach, storedReach } from '../../upstream/address.ts';
import type { DaemonController } from '../daemon/controller.ts';
import type { DeathRecorder } from '../daemon/daemon-end.ts';
import type { WorkspaceKey } from '../fleet.ts';
import type { EventJournal } from '../records/event-journal.ts';
import type { DaemonSearch } from './daemon-search.ts';
import { type HeldWorkspaces, LOOKED_FOR } from './held-workspaces.ts';

type Found<V extends Whereabouts['verdict']> = Extract<Whereabouts, { verdict: V }>;

/** An unended row and its workspace. */
interface Case {
  readonly row: DaemonRow;
  /** Undefined when the workspace is no longer registered. */
  readonly workspace: WorkspaceKey | undefined;
}

export interface AdoptionDeps {
  readonly store: Pick<Store, 'daemons' | 'workspaces'>;
  readonly search: DaemonSearch;
  readonly held: HeldWorkspaces;
  readonly fleet: {
    readonly controllerOf: (workspace: WorkspaceKey) => DaemonController;
    /** Whether this incarnation is the current one of a controller. */
    readonly isOwned: (incarnation: string) => boolean;
  };
  readonly deathRecorder: DeathRecorder;
  readonly journal: Pick<EventJournal, 'note'>;
  readonly log: Log;
  readonly stopGraceMs: number;
}

export class Adoption {
  readonly #deps: AdoptionDeps;
  /** The first looks for daemons of earlier coordinators, while they are under way, by workspace. */
  readonly #firstLooks = new Map<string, Promise<void>>();
  /** Incarnations that are being ended because their workspace was removed. */
  readonly #ending = new Set<string>();

  constructor(deps: AdoptionDeps) {
    this.#deps = deps;
  }

  /** Resolves when the first look for the workspace's daemon is over; undefined when no first look is under way. */
  firstLookAt(workspaceId: string): Promise<void> | undefined {
    return this.#firstLooks.get(workspaceId);
  }

  /**
   * Searches the daemons of all unended rows without a controller, at the same time, each step within its deadline. Calls must
   * not overlap. Never rejects for a single row: its workspace is held then, and the next call searches again.
   */
  async reconcile(): Promise<void> {
    const { store, held } = this.#deps;
    const paths = new Map(store.workspaces.list().map(({ id, path }) => [id, path]));
    const rows = store.daemons.unended().filter(({ incarnation }) => !this.#isCaredFor(incarnation));
    const settling = [...byWorkspace(rows)].map(([id, own]) => {
      const path = paths.get(id);
      return path === undefined ? this.#settleAll(own, undefined) : this.#look(own, { id, path });
    });
    await Promise.all(settling);
    held.freeEnded(rows);
  }

  /**
   * Settles the rows of one workspace. A database that was restored from a backup, or taken back to an earlier schema, can have
   * two rows for a workspace: that of the daemon of its day, and that of the daemon which runs.
   */
  async #look(rows: readonly DaemonRow[], workspace: WorkspaceKey): Promise<void> {
    if (this.#deps.held.of(workspace.id) !== undefined) return this.#settleAll(rows, workspace);
    // Held before the first await: no demand may start a second daemon while one of the rows' daemons is being searched.
    for (const row of rows) this.#hold({ row, workspace }, LOOKED_FOR);
    const look = this.#settleAll(rows, workspace).finally(() => this.#firstLooks.delete(workspace.id));
    this.#firstLooks.set(workspace.id, look);
    return look;
  }

  async #settleAll(rows: readonly DaemonRow[], workspace: WorkspaceKey | undefined): Promise<void> {
    await Promise.all(rows.map((row) => this.#settle({ row, workspace })));
  }

  #isCaredFor(incarnation: string): boolean {
    return this.#ending.has(incarnation) || this.#deps.fleet.isOwned(incarnation);
  }

  async #settle(known: Case): Promise<void> {
    try {
      await this.#act(known, await this.#deps.search.find(known.row));
    } catch (error) {
      const { incarnation } = known.row;
      this.#deps.log.error({ err: error, incarnation }, 'a daemon could not be reconciled');
      this.#hold(known, messageOf(error));
    }
  }

  async #act(known: Case, found: Whereabouts): Promise<void> {
    switch (found.verdict) {
      case 'gone':
        return found.hasRun
          ? this.#end(known, 'it was gone when the coordinator looked for it', found.exit)
          : this.#startWasCut(known, found.exit);
      case 'alive':
        return known.workspace === undefined
          ? this.#endOrphan(known.row, found.process)
          : this.#takeOver(known.row, known.workspace, found);
      case 'unverifiable':
        return this.#hold(known, found.why, found.facts);
    }
  }

  /**
   * Handles a row whose daemon was never seen: the coordinator was killed between commit and start, or the daemon is just being
   * made. Records the end once the start deadline is over, else holds the workspace.
   */
  #startWasCut(known: Case, exit: DaemonExit): void {
    if (this.#deps.search.isStartOver(known.row)) this.#end(known, 'no process was ever made for it', exit);
    else if (known.workspace !== undefined)
      this.#deps.held.hold({
        row: known.row,
        workspace: known.workspace,
        why: 'its start was interrupted and may still succeed',
        facts: this.#deps.search.factsOf(known.row),
        mayRun: false,
      });
  }

  async #takeOver(row: DaemonRow, workspace: WorkspaceKey, found: Found<'alive'>): Promise<void> {
    const { search, held, fleet, journal } = this.#deps;
    const { process } = found;
    const { incarnation, workspaceId } = row;
    const reach = search.reachOf(row, found.address);
    if (reach === undefined)
      return this.#hold({ row, workspace }, 'it runs and has not said yet where it answers', process.facts);
    const identity = await search.identityOf(reach, incarnation);
    const version = identity?.version ?? row.version;
    this.#noteFound(row, process, reach, version);
    const misfit = misfitOf(identity);
    const isAdopted = fleet.controllerOf(workspace).adopt(
      { workspaceId, process, ...reach },
      {
        version,
        wasReady: true,
        isEnding: identity?.ending ?? false,
        ...(misfit !== undefined && { misfit }),
      },
    );
    if (!isAdopted) return this.#hold({ row, workspace }, 'another daemon of this workspace runs');
    const detail = { ...process.facts, ...(misfit !== undefined && { misfit }) };
    journal.note({ kind: 'daemon_adopted', workspaceId, incarnation, detail });
    held.free(row);
  }

  /** Stores handle and address in the row, if the earlier coordinator was killed before it could store them. */
  #noteFound(row: DaemonRow, { handle, facts }: DaemonProcess, reach: Reach, version: string | null): void {
    const { daemons } = this.#deps.store;
    if (handle !== row.launchHandle) daemons.setLaunched(row.incarnation, handle, { ...facts });
    if (row.state === 'starting')
      daemons.setReady(row.incarnation, { version: version ?? 'unknown', ...storedReach(reach) });
  }

  /** Ends a daemon whose workspace was removed while no coordinator ran. Does not wait: a slow end must not delay the start. */
  #endOrphan(row: DaemonRow, process: DaemonProcess): void {
    this.#ending.add(row.incarnation);
    void process.terminate(this.#deps.stopGraceMs).then((exit) => {
      this.#ending.delete(row.incarnation);
      const reason = 'its workspace is no longer registered';
      this.#deps.deathRecorder.record({ source: row, exit, reason, kind: 'removed', next: {} });
    });
  }

  #end({ row }: Case, reason: string, exit: DaemonExit): void {
    this.#deps.deathRecorder.record({ source: row, exit, reason, kind: 'died', next: {} });
    this.#deps.search.forget(row);
    this.#deps.held.free(row);
  }

  #hold({ row, workspace }: Case, why: string, facts?: LaunchFacts): void {
    if (workspace === undefined) return;
    const { held, search } = this.#deps;
    held.hold({ row, workspace, why, facts: facts ?? search.factsOf(row), mayRun: true });
  }
}

/**
 * Why the daemon is to be replaced once its turns have ended: it speaks another contract version. Undefined when it speaks this
 * coordinator's version, or did not answer.
 */
function misfitOf(identity: DaemonIdentity | undefined): string | undefined {
  if (identity === undefined || identity.contract === CONTRACT_VERSION) return undefined;
  return `it speaks contract version ${identity.contract}, this coordinator version ${CONTRACT_VERSION}`;
}

function byWorkspace(rows: readonly DaemonRow[]): ReadonlyMap<string, readonly DaemonRow[]> {
  const groups = new Map<string, DaemonRow[]>();
  for (const row of rows) {
    const group = groups.get(row.workspaceId);
    if (group === undefined) groups.set(row.workspaceId, [row]);
    else group.push(row);
  }
  return groups;
}
