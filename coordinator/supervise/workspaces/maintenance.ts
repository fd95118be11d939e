// The operators' actions on workspaces: drain, undrain, restart of one daemon or of all, change of settings.
import { fail, messageOf } from '../../../daemon/contract/errors.ts';
import type { Log } from '../../../daemon/contract/log.ts';
import type { RouteClass } from '../../domain/route-classes.ts';
import type { Store, WorkspaceSettings } from '../../store/store.ts';
import type { DaemonView, Fleet, WorkspaceKey } from '../fleet.ts';
import type { EventJournal } from '../records/event-journal.ts';
import type { RestorableWorkspaces } from '../restorable-workspaces.ts';

export interface MaintenanceDeps {
  readonly store: Store;
  readonly journal: Pick<EventJournal, 'note'>;
  readonly log: Log;
  readonly fleet: Pick<Fleet, 'stop' | 'ensureReady' | 'views' | 'otherCommandOf' | 'startWith'>;
  /** Gets a workspace when its new daemon is ready, so that the restorer restores the workspace's sessions. */
  readonly restorable: Pick<RestorableWorkspaces, 'add'>;
  readonly workspaceById: (workspaceId: string) => WorkspaceKey | undefined;
}

export interface RestartOutcome {
  readonly workspaceId: string;
  readonly ok: boolean;
  /** The new incarnation when `ok`, else why the daemon was not replaced. */
  readonly detail: string;
}

/** Longest wait for a restarted daemon. Longer than the limits of a start, because their refusals say more about the reason. */
const READY_WITHIN_MS = 120_000;

export class Maintenance {
  readonly #deps: MaintenanceDeps;
  /** Workspaces whose daemon is being replaced: creates wait for the new daemon, prompts are refused until it is ready. */
  readonly #replacing = new Set<string>();

  constructor(deps: MaintenanceDeps) {
    this.#deps = deps;
  }

  /** Why the workspace takes no requests of this route class that bring new work; undefined when it takes them. */
  drainReasonOf(workspaceId: string, routeClass: RouteClass): string | undefined {
    const drainReason = this.#drainReason(workspaceId);
    if (drainReason !== null) return drainReason;
    const isPrompt = routeClass === 'session_prompt';
    return isPrompt && this.#replacing.has(workspaceId) ? 'its daemon is being replaced' : undefined;
  }

  /** Why the workspace is drained; null when it is not, or the store cannot be read: a damaged database must not stop work. */
  #drainReason(workspaceId: string): string | null {
    try {
      return this.#deps.store.workspaces.settings(workspaceId).holdReason;
    } catch (error) {
      this.#deps.log.warn({ err: error, workspaceId }, 'whether the workspace is drained cannot be read');
      return null;
    }
  }

  /**
   * Refuses new work until `undrain`, gives running turns at most `drainMs` to end (undefined: the configured time), then stops
   * the daemon; its sessions become dormant. Resolves when the daemon is gone.
   */
  async drain(workspaceId: string, reason: string, drainMs: number | undefined): Promise<void> {
    this.#deps.store.workspaces.change(workspaceId, { holdReason: reason, holdDrainMs: drainMs ?? null });
    const limit = drainMs === undefined ? {} : { drainMs };
    await this.#deps.fleet.stop(workspaceId, { reason: `drained: ${reason}`, kind: 'stopped', ...limit });
  }

  /** Ends the drain: the workspace takes new work again. Starts no daemon. */
  undrain(workspaceId: string): void {
    this.#deps.store.workspaces.change(workspaceId, { holdReason: null, holdDrainMs: null });
  }

  /** Changes some settings of the workspace. @returns all of its settings after the change. */
  change(
    workspaceId: string,
    change: Partial<Omit<WorkspaceSettings, 'holdReason' | 'holdDrainMs'>>,
  ): WorkspaceSettings {
    this.#deps.store.workspaces.change(workspaceId, change);
    return this.#deps.store.workspaces.settings(workspaceId);
  }

  /** Replaces every running daemon, up to `atOnce` at the same time. After a failure no further replacement begins. */
  async restartAll(atOnce: number, drainMs: number | undefined): Promise<readonly RestartOutcome[]> {
    const queue = this.#deps.fleet
      .views()
      .filter(hasServed)
      .map(({ workspace }) => workspace.id);
    const outcomes: RestartOutcome[] = [];
    const worker = async () => {
      for (let id = queue.shift(); id !== undefined; id = queue.shift()) {
        const outcome = await this.restart(id, drainMs);
        outcomes.push(outcome);
        if (!outcome.ok) queue.length = 0;
      }
    };
    await Promise.all(Array.from({ length: Math.min(queue.length, Math.max(1, atOnce)) }, worker));
    return outcomes;
  }

  /**
   * Replaces one daemon: the old daemon ends after its turns, then the new daemon starts and the sessions are restored in it. If
   * it does not become ready, and the old daemon's command differs from the configured one, the old command is started again.
   */
  async restart(workspaceId: string, drainMs: number | undefined): Promise<RestartOutcome> {
    const { fleet, workspaceById } = this.#deps;
    const workspace = workspaceById(workspaceId);
    if (workspace === undefined) throw fail('workspace_mismatch', 'No such workspace', { workspaceId });
    const { holdReason } = this.#deps.store.workspaces.settings(workspaceId);
    if (holdReason !== null)
      return { workspaceId, ok: false, detail: `it is drained (${holdReason}); undrain it first` };
    if (this.#replacing.has(workspaceId))
      return { workspaceId, ok: false, detail: 'it is already being replaced' };
    this.#replacing.add(workspaceId);
    const previous = fleet.otherCommandOf(workspaceId);
    try {
      const limit = drainMs === undefined ? {} : { drainMs };
      // The command is reset before the stop: a waiting create starts the next daemon as soon as the old one is gone.
      await fleet.startWith(workspaceId, undefined);
      await fleet.stop(workspaceId, { reason: 'restart', kind: 'replaced', ...limit });
      return { workspaceId, ok: true, detail: await this.#ready(workspace) };
    } catch (error) {
      this.#deps.log.error({ err: error, workspaceId }, 'a daemon could not be replaced');
      return { workspaceId, ok: false, detail: await this.#rollBack(workspace, previous, error) };
    } finally {
      this.#replacing.delete(workspaceId);
    }
  }

  /** Waits for the workspace's new daemon. @returns its incarnation. @throws Error when it does not become ready. */
  async #ready(workspace: WorkspaceKey): Promise<string> {
    const { fleet, restorable } = this.#deps;
    const { incarnation } = await fleet.ensureReady(workspace, AbortSignal.timeout(READY_WITHIN_MS));
    restorable.add(workspace.id);
    return incarnation;
  }

  /**
   * Starts a daemon with the command of the replaced one, `previous`, if there is such a command. Never rejects.
   * @returns why the restart failed, and whether the roll-back succeeded.
   */
  async #rollBack(
    workspace: WorkspaceKey,
    previous: readonly string[] | undefined,
    error: unknown,
  ): Promise<string> {
    const why = messageOf(error);
    if (previous === undefined)
      return `${why}. Rolling back is impossible: the replaced daemon was started with the same command. Keep each version in a directory of its own, and start the coordinator from it or name it with --daemon-command.`;
    try {
      await this.#deps.fleet.startWith(workspace.id, previous);
      const incarnation = await this.#ready(workspace);
      this.#deps.journal.note({
        kind: 'daemon_rolled_back',
        workspaceId: workspace.id,
        incarnation,
        detail: { why, command: previous.join(' ') },
      });
      return `${why}. Rolled back to "${previous.join(' ')}": ${incarnation} is serving.`;
    } catch (second) {
      return `${why}. Rolling back to "${previous.join(' ')}" failed too: ${messageOf(second)}`;
    }
  }
}

/** Whether the daemon runs and may have sessions: it is ready, or being adopted (`starting` with a known version). */
function hasServed({ state, version }: DaemonView): boolean {
  return state === 'ready' || (state === 'starting' && version !== null);
}
