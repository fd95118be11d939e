// Makes and keeps the controllers: one for each workspace whose daemon was ever demanded or adopted. Keeps their routes too.
import type { Clock } from '../../../daemon/contract/clock.ts';
import type { Log } from '../../../daemon/contract/log.ts';
import type { Endpoint } from '../../upstream/endpoint.ts';
import { DaemonController } from '../daemon/controller.ts';
import type { DeathRecorder, Deaths } from '../daemon/daemon-end.ts';
import type { StartConditions } from '../daemon/demand.ts';
import type { IncarnationDeps } from '../daemon/incarnation.ts';
import type { Spawner } from '../daemon/spawn.ts';
import type { WorkspaceKey } from '../fleet.ts';
import type { SuperviseSettings } from '../settings.ts';

export interface ControllersDeps {
  readonly spawner: Spawner;
  readonly deathRecorder: DeathRecorder;
  readonly incarnation: Omit<IncarnationDeps, 'machine' | 'log'>;
  readonly deathsOf: (workspace: WorkspaceKey) => Deaths;
  readonly clock: Clock;
  readonly log: Log;
  readonly settings: SuperviseSettings;
}

/** The part of `Capacity` that a controller needs. */
export interface StartRules {
  conditionsOf(workspace: WorkspaceKey): StartConditions;
}

export class Controllers {
  /** Endpoints of the ready daemons by workspace id; each controller keeps its own entry. */
  readonly routes = new Map<string, Endpoint>();
  readonly #deps: ControllersDeps;
  readonly #byWorkspace = new Map<string, DaemonController>();

  constructor(deps: ControllersDeps) {
    this.#deps = deps;
  }

  /** The workspace's controller; undefined while no request and no adoption has needed one. */
  find(workspaceId: string): DaemonController | undefined {
    return this.#byWorkspace.get(workspaceId);
  }

  /**
   * The workspace's controller, which is made by the first call.
   * @param capacity gives the conditions for a start of the workspace's daemon.
   */
  of(workspace: WorkspaceKey, capacity: StartRules): DaemonController {
    const known = this.#byWorkspace.get(workspace.id);
    if (known !== undefined) return known;
    const { spawner, deathRecorder, incarnation, deathsOf, clock, settings } = this.#deps;
    const log = this.#deps.log.child({ workspace: workspace.path });
    const controller = new DaemonController(workspace, {
      fleet: { ...capacity.conditionsOf(workspace), routes: this.routes },
      spawner,
      deathRecorder,
      deaths: deathsOf(workspace),
      incarnation: { ...incarnation, log },
      clock,
      log,
      settings,
    });
    this.#byWorkspace.set(workspace.id, controller);
    return controller;
  }

  all(): readonly DaemonController[] {
    return [...this.#byWorkspace.values()];
  }

  /** The controller whose current incarnation this is; undefined when no controller has it. */
  running(incarnation: string): DaemonController | undefined {
    // Searched: the incarnation's name begins with the workspace's id, but only the store may rely on that.
    return this.all().find((controller) => controller.current?.id === incarnation);
  }

  forget(workspaceId: string): void {
    this.#byWorkspace.delete(workspaceId);
  }
}
