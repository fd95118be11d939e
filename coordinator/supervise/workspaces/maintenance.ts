// What an operator does to workspaces and their daemons: drain and undrain, restart of one daemon or of all, settings.
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
  /** Takes the workspaces of sessions that are to come back by themselves. */
  readonly restorable: Pick<RestorableWorkspaces, 'add'>;
  readonly workspaceById: (workspaceId: string) => WorkspaceKey | undefined;
}

export interface RestartOutcome {
  readonly workspaceId: string;
  readonly ok: boolean;
  /** The new incarnation, or why the daemon was not replaced. */
  readonly detail: string;
}

/** Longest wait for a restarted daemon. The limits of its start are shorter, and their refusal gives the better reason. */
const READY_WITHIN_MS = 120_000;

export class Maintenance {
  readonly #deps: MaintenanceDeps;
  /** Workspaces whose daemon is being replaced now: creates wait for the next daemon, prompts are refused until then. */
  readonly #replacing = new Set<string>();

  constructor(deps: MaintenanceDeps) {
    this.#deps = deps;
  }

  /** Why the workspace takes no new work of this class; undefined when it does. */
  drainReasonOf(workspaceId: string, routeClass: RouteClass): string | undefined {
    const drainReason = this.#drainReason(workspaceId);
    if (drainReason !== null) return drainReason;
    const isPrompt = routeClass === 'session_prompt';
    return isPrompt && this.#replacing.has(workspaceId) ? 'its daemon is being replaced' : undefined;
  }

  /** Null also where the store cannot be read: a damaged database must not stop the work that it only records. */
  #drainReason(workspaceId: string): string | null {
    try {
      return this.#deps.store.workspaces.settings(workspaceId).holdReason;
    } catch (error) {
      this.#deps.log.warn({ err: error, workspaceId }, 'whether the workspace is drained cannot be read');
      return null;
    }
  }

  /**
   * Refuses new work until `undrain`, gives running turns at most `drainMs` to end, then stops the daemon; its sessions sleep.
   * Resolves when the daemon is gone.
   */
  async drain(workspaceId: string, reason: string, drainMs: number | undefined): Promise<void> {
    this.#deps.store.workspaces.change(workspaceId, { holdReason: reason, holdDrainMs: drainMs ?? null });
    const limit = drainMs === undefined ? {} : { drainMs };
    await this.#deps.fleet.stop(workspaceId, { reason: `drained: ${reason}`, kind: 'stopped', ...limit });
  }

  /** The workspace takes new work again. */
  undrain(workspaceId: string): void {
    this.#deps.store.workspaces.change(workspaceId, { holdReason: null, holdDrainMs: null });
  }

  /** Changes the workspace's settings. @returns all of them as they are then. */
  change(
    workspaceId: string,
    change: Partial<Omit<WorkspaceSettings, 'holdReason' | 'holdDrainMs'>>,
  ): WorkspaceSettings {
    this.#deps.store.workspaces.change(workspaceId, change);
    return this.#deps.store.workspaces.settings(workspaceId);
  }

  /** Replaces every running daemon, `atOnce` at the same time. After the first failure no further daemon is replaced. */
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
   * Replaces one daemon: the old daemon ends after its turns, then the new daemon starts and its sessions come back. Where the new
   * daemon does not become ready, one is started with the old daemon's command, if that differs from the configured command.
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

  /** @returns why the restart failed, and what the workspace is left with. Never rejects. */
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

/** Whether the daemon runs. A daemon that is being taken over from an earlier coordinator is `starting` with a known version. */
function hasServed({ state, version }: DaemonView): boolean {
  return state === 'ready' || (state === 'starting' && version !== null);
}
