// Reconciles the rows of daemons that the database believes in with the processes that there are: at start and on a timer.
// A process that is not proven ours is left alone; until it is gone its workspace is held, so that nothing is started twice.

import type { DaemonIdentity } from '../../../daemon/contract/control.ts';
import { messageOf } from '../../../daemon/contract/errors.ts';
import { CONTRACT_VERSION } from '../../../daemon/contract/handshake.ts';
import type { DaemonExit, DaemonMark, DaemonProcess, Adoption as Found } from '../../launch/launcher.ts';
import type { DaemonRow } from '../../store/store.ts';
import type { DaemonController } from '../daemon/controller.ts';
import { recordDeath } from '../daemon/daemon-end.ts';
import type { SupervisorDeps } from '../daemon/deps.ts';
import type { WorkspaceKey } from '../fleet.ts';

/** A row whose process may be alive without being ours to use. */
export interface Held {
  readonly workspace: WorkspaceKey;
  readonly row: DaemonRow;
  readonly why: string;
}

/** What a daemon that is gone has left. */
type Leftovers = Pick<DaemonExit, 'strays' | 'oomKills' | 'peakBytes'>;

/** Every start begins with it; it is worth no record. */
const LOOKED_FOR = 'it is still being located';

/** Share of the time for an adoption in which a daemon has to answer a question that the search does not need. */
const QUESTION_SHARE = 0.3;

export interface AdoptionDeps extends SupervisorDeps {
  readonly controllerOf: (workspace: WorkspaceKey) => DaemonController;
  /** Whether a cell runs this incarnation already. */
  readonly isOwned: (incarnation: string) => boolean;
}

export class Adoption {
  readonly #deps: AdoptionDeps;
  readonly #held = new Map<string, Held>();
  /** First looks that are under way, by workspace. */
  readonly #firstLooks = new Map<string, Promise<void>>();
  /** Monotonic times until which starts that left no pid may still succeed, by incarnation. */
  readonly #startDeadlines = new Map<string, number>();
  /** Incarnations of removed workspaces whose end is under way. */
  readonly #ending = new Set<string>();

  constructor(deps: AdoptionDeps) {
    this.#deps = deps;
  }

  /** What holds the workspace's start back; undefined when nothing does. */
  heldIn(workspaceId: string): Held | undefined {
    return this.#held.get(workspaceId);
  }

  /** Resolves when the first look at the workspace's daemon is over; undefined when none is under way. */
  firstLookAt(workspaceId: string): Promise<void> | undefined {
    return this.#firstLooks.get(workspaceId);
  }

  get held(): readonly Held[] {
    return [...this.#held.values()];
  }

  /**
   * Looks at every unended row that no cell runs, all at once, each step within its deadline. Calls must not overlap.
   * Never rejects for a single row: what cannot be settled is held and looked at by the next call.
   */
  async reconcile(): Promise<void> {
    const { store } = this.#deps;
    const paths = new Map(store.workspaces.list().map(({ id, path }) => [id, path]));
    const rows = store.daemons.unended().filter(({ incarnation }) => !this.#isCaredFor(incarnation));
    const settling = rows.map((row) => {
      const path = paths.get(row.workspaceId);
      return path === undefined
        ? this.#settle(row, undefined)
        : this.#look(row, { id: row.workspaceId, path });
    });
    await Promise.all(settling);
    this.#releaseEnded(rows);
  }

  async #look(row: DaemonRow, workspace: WorkspaceKey): Promise<void> {
    if (this.#held.has(workspace.id)) return this.#settle(row, workspace);
    // Held before the first await: no demand may start a second process while this one is being looked for.
    this.#hold({ workspace, row, why: LOOKED_FOR });
    const look = this.#settle(row, workspace).finally(() => this.#firstLooks.delete(workspace.id));
    this.#firstLooks.set(workspace.id, look);
    return look;
  }

  #isCaredFor(incarnation: string): boolean {
    return this.#ending.has(incarnation) || this.#deps.isOwned(incarnation);
  }

  /** A hold whose row is no longer unended (ended by hand, workspace removed) holds nothing. */
  #releaseEnded(rows: readonly DaemonRow[]): void {
    for (const { row } of this.#held.values())
      if (!rows.some(({ incarnation }) => incarnation === row.incarnation)) this.#release(row);
  }

  async #settle(row: DaemonRow, workspace: WorkspaceKey | undefined): Promise<void> {
    try {
      const mark = await this.#markOf(row);
      const found = await this.#find(mark);
      if (mark.pid === 0 && found.verdict === 'gone') this.#withoutProcess(row, workspace, found);
      else await this.#act(row, workspace, found);
    } catch (error) {
      this.#deps.log.error({ err: error, incarnation: row.incarnation }, 'a daemon could not be reconciled');
      if (workspace !== undefined) this.#hold({ workspace, row, why: messageOf(error) });
    }
  }

  /**
   * How to find the row's process. A coordinator that died between spawn and commit left no pid: then the socket tells it,
   * else the process table is searched (pid 0).
   */
  async #markOf(row: DaemonRow): Promise<DaemonMark> {
    const { incarnation, bootId, pid, startTime, socketPath, secret } = row;
    const known = { incarnation, bootId, socketPath, secret };
    if (pid !== null) return { ...known, pid, startTime: startTime ?? 0 };
    const identity = await this.#identityOf(row);
    if (identity === undefined) return { ...known, pid: 0, startTime: 0 };
    this.#deps.store.daemons.setPid(incarnation, identity.pid, identity.startTime);
    return { ...known, pid: identity.pid, startTime: identity.startTime };
  }

  #withoutProcess(row: DaemonRow, workspace: WorkspaceKey | undefined, remains: Leftovers): void {
    if (this.#isStartOver(row)) this.#end(row, workspace, 'no process was ever made for it', remains);
    else if (workspace !== undefined)
      this.#hold({ workspace, row, why: 'its start was interrupted and may still succeed' });
  }

  /** The stored deadline is wall-clock time, of use once: from the first look on time is counted on a clock that cannot jump. */
  #isStartOver({ incarnation, startDeadlineAtMs }: DaemonRow): boolean {
    const { clock, settings } = this.#deps;
    const nowMs = clock.monotonicMs();
    const leftMs = Math.min(startDeadlineAtMs - clock.nowMs(), settings.startTimeoutMs);
    const deadline = this.#startDeadlines.get(incarnation) ?? nowMs + leftMs;
    this.#startDeadlines.set(incarnation, deadline);
    return nowMs >= deadline;
  }

  #find(mark: DaemonMark): Promise<Found> {
    const { clock, launcher, settings } = this.#deps;
    const { adoptTimeoutMs } = settings;
    return new Promise((resolve, reject) => {
      const why = `it could not be verified within ${adoptTimeoutMs} ms`;
      const deadline = clock.after(adoptTimeoutMs, () => resolve({ verdict: 'unverifiable', why }));
      launcher
        .adopt(mark)
        .then(resolve, reject)
        .finally(() => deadline.cancel());
    });
  }

  async #act(row: DaemonRow, workspace: WorkspaceKey | undefined, found: Found): Promise<void> {
    switch (found.verdict) {
      case 'gone':
        return this.#end(row, workspace, 'it was gone when the coordinator looked for it', found);
      case 'alive':
        return workspace === undefined
          ? this.#endOrphan(row, found.process)
          : this.#takeOver(row, workspace, found.process);
      case 'unverifiable':
        if (workspace !== undefined) this.#hold({ workspace, row, why: found.why });
        return;
    }
  }

  async #takeOver(row: DaemonRow, workspace: WorkspaceKey, process: DaemonProcess): Promise<void> {
    const identity = await this.#identityOf(row);
    const version = identity?.version ?? row.version;
    if (row.pid === null)
      this.#deps.store.daemons.setPid(row.incarnation, process.mark.pid, process.mark.startTime);
    if (row.state === 'starting') this.#deps.store.daemons.setReady(row.incarnation, version ?? 'unknown');
    const misfit = misfitOf(identity);
    const isAdopted = this.#deps.controllerOf(workspace).adopt(process, {
      version,
      wasReady: true,
      isEnding: identity?.ending ?? false,
      ...(misfit !== undefined && { misfit }),
    });
    if (!isAdopted) {
      this.#hold({ workspace, row, why: 'another daemon of this workspace runs' });
      return;
    }
    this.#note('daemon_adopted', row, { pid: process.mark.pid, ...(misfit !== undefined && { misfit }) });
    this.#release(row);
  }

  /** Its workspace was removed while nobody could stop it. Not awaited: a slow end must not hold the start back. */
  #endOrphan(row: DaemonRow, process: DaemonProcess): void {
    this.#ending.add(row.incarnation);
    void process.terminate(this.#deps.settings.stopGraceMs).then((exit) => {
      this.#ending.delete(row.incarnation);
      const reason = 'its workspace is no longer registered';
      recordDeath(this.#deps, { source: row, exit, reason, kind: 'removed', next: {} });
    });
  }

  #end(row: DaemonRow, workspace: WorkspaceKey | undefined, reason: string, remains: Leftovers): void {
    const { strays, oomKills, peakBytes } = remains;
    const lastLines = this.#deps.launcher.logs(row.logPath, 20);
    const exit = { code: null, signal: null, lastLines, strays, oomKills, peakBytes };
    recordDeath(this.#deps, { source: row, exit, reason, kind: 'died', next: {} });
    this.#startDeadlines.delete(row.incarnation);
    if (workspace !== undefined) this.#release(row);
  }

  /** A short question before and behind the search, which alone may take the whole time for an adoption. */
  async #identityOf(row: DaemonRow): Promise<DaemonIdentity | undefined> {
    const { askIdentity, settings } = this.#deps;
    const shareMs = Math.ceil(settings.adoptTimeoutMs * QUESTION_SHARE);
    const at = { address: { kind: 'unix', path: row.socketPath }, secret: row.secret } as const;
    const identity = await askIdentity(at, Math.min(settings.probeTimeoutMs, shareMs));
    return identity?.incarnation === row.incarnation ? identity : undefined;
  }

  #hold(held: Held): void {
    const known = this.#held.get(held.workspace.id);
    if (known?.why !== held.why)
      this.#deps.log.info(
        { incarnation: held.row.incarnation, pid: held.row.pid, why: held.why },
        'workspace held',
      );
    if (known?.why !== held.why && held.why !== LOOKED_FOR)
      this.#note('workspace_held', held.row, { why: held.why, pid: held.row.pid });
    this.#held.set(held.workspace.id, held);
  }

  #release(row: DaemonRow): void {
    const held = this.#held.get(row.workspaceId);
    if (held?.row.incarnation !== row.incarnation) return;
    this.#held.delete(row.workspaceId);
    if (held.why !== LOOKED_FOR) this.#note('workspace_released', row, {});
  }

  #note(
    kind: string,
    { workspaceId, incarnation }: DaemonRow,
    detail: Readonly<Record<string, unknown>>,
  ): void {
    this.#deps.journal.note({ kind, workspaceId, incarnation, detail });
  }
}

/** Its turns are not cut for it: it may end them, and takes no new ones. */
function misfitOf(identity: DaemonIdentity | undefined): string | undefined {
  if (identity === undefined || identity.contract === CONTRACT_VERSION) return undefined;
  return `it speaks contract version ${identity.contract}, this coordinator version ${CONTRACT_VERSION}`;
}
