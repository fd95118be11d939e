// What an operator does to daemons: drain and its end, restart of one or of all, settings of a workspace.
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
  /** The new incarnation, or why there is none. */
  readonly detail: string;
}

/** Longest wait for a restarted daemon; its own start limits are shorter and give the better reason. */
const READY_WITHIN_MS = 120_000;

export class Maintenance {
  readonly #deps: MaintenanceDeps;
  /** Workspaces whose daemon is being replaced right now: creates park, prompts are told to come again. */
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

  /** A store that cannot be read holds no work back: a damaged one must not end what it only keeps books of. */
  #drainReason(workspaceId: string): string | null {
    try {
      return this.#deps.store.workspaces.settings(workspaceId).holdReason;
    } catch (error) {
      this.#deps.log.warn({ err: error, workspaceId }, 'whether the workspace is drained cannot be read');
      return null;
    }
  }

  /**
   * Refuses new work until `undrain`, lets running turns end for at most `drainMs`, then stops the daemon. Its sessions sleep.
   * Resolves when the daemon is gone.
   */
  async drain(workspaceId: string, reason: string, drainMs: number | undefined): Promise<void> {
    this.#deps.store.workspaces.change(workspaceId, { holdReason: reason, holdDrainMs: drainMs ?? null });
    const limit = drainMs === undefined ? {} : { drainMs };
    await this.#deps.fleet.stop(workspaceId, { reason: `drained: ${reason}`, kind: 'stopped', ...limit });
  }

  undrain(workspaceId: string): void {
    this.#deps.store.workspaces.change(workspaceId, { holdReason: null, holdDrainMs: null });
  }

  change(
    workspaceId: string,
    change: Partial<Omit<WorkspaceSettings, 'holdReason' | 'holdDrainMs'>>,
  ): WorkspaceSettings {
    this.#deps.store.workspaces.change(workspaceId, change);
    return this.#deps.store.workspaces.settings(workspaceId);
  }

  /** Replaces every running daemon, `atOnce` at a time; the rest is left alone after the first failure. */
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
   * Replaces one daemon: it ends after its turns, only then the next one starts, and its sessions come back. Where the next
   * one does not become ready, the workspace goes back to what the replaced one was started with, if that is another command.
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
      // Before the stop: a parked create starts the next one as soon as the old one is gone.
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

  /** @returns the new incarnation. @throws Error when it does not become ready. */
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

/** Also while it is being taken over from an earlier coordinator: its version is known then. */
function hasServed({ state, version }: DaemonView): boolean {
  return state === 'ready' || (state === 'starting' && version !== null);
}
