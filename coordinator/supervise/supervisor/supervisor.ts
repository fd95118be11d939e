// The fleet: one cell per workspace, adoption in front of them, and the periodic work. Owns everything that it starts.
import { fail } from '../../../daemon/contract/errors.ts';
import { admitDaemon } from '../../domain/admission.ts';
import type { Endpoint } from '../../upstream/endpoint.ts';
import { DaemonController } from '../daemon/controller.ts';
import type { SupervisorDeps } from '../daemon/deps.ts';
import { StartGate } from '../daemon/start-gate.ts';
import type { DaemonView, Fleet, FleetStop, RoomReport, WorkspaceKey } from '../fleet.ts';
import { held as heldRefusal, shuttingDown } from '../refusals.ts';
import { untilAborted } from '../until-aborted.ts';
import { Adoption } from './adoption.ts';
import { type EvictionDeps, makeRoom, roomReport } from './eviction.ts';
import type { Ticker } from './ticker.ts';
import { startUpkeep } from './upkeep.ts';

export interface Supervisor extends Fleet {
  /**
   * Finds the daemons of earlier coordinators again, then begins the periodic work. Call once, before the listener opens;
   * it need not be awaited for that: demands for a workspace wait until its daemon has been looked for.
   * Resolves when every one was adopted, recorded as ended, or held.
   */
  adoptAll(): Promise<void>;
  /** Refuses every demand from now on, shuts every daemon down cleanly, kills what is left at the deadline, then detaches. */
  stopAll(deadlineMs: number): Promise<void>;
  /** Kills every daemon's whole tree. Synchronous: for the second signal and for exit handlers. */
  killAllNow(): void;
  /**
   * Stops the supervision and leaves the daemons running: periodic work, feeds and timers end, heartbeats are written.
   * Idempotent. The store must stay open until it resolves.
   */
  detach(): Promise<void>;
}

export function createSupervisor(deps: SupervisorDeps): Supervisor {
  return new FleetSupervisor(deps);
}

class FleetSupervisor implements Supervisor {
  readonly #deps: SupervisorDeps;
  readonly #controllers = new Map<string, DaemonController>();
  /** Endpoints of the ready daemons; the cells keep it. */
  readonly #routes = new Map<string, Endpoint>();
  readonly #adoption: Adoption;
  /** The start's adoption; a stop that comes during it waits, so that nothing is adopted behind its back. */
  #adopting: Promise<void> | undefined;
  readonly #startGate: StartGate;
  readonly #eviction: EvictionDeps;
  #ticker: Ticker | undefined;
  #isClosing = false;

  constructor(deps: SupervisorDeps) {
    this.#deps = deps;
    this.#startGate = new StartGate(deps.settings.maxConcurrentStarts);
    this.#eviction = {
      controllers: () => this.#controllers.values(),
      isPinned: (id) => deps.store.workspaces.settings(id).isPinned,
      nowMs: () => deps.clock.monotonicMs(),
      onEvicted: (workspaceId, why) =>
        deps.journal.note({
          kind: 'daemon_evicted',
          workspaceId,
          detail: { why, next: { state: 'stopped' } },
        }),
    };
    this.#adoption = new Adoption({
      ...deps,
      controllerOf: (workspace) => this.#controllerOf(workspace),
      isOwned: (incarnation) => this.#byIncarnation(incarnation) !== undefined,
    });
  }

  async ensureReady(workspace: WorkspaceKey, signal: AbortSignal): Promise<Endpoint> {
    const endpoint = this.#routes.get(workspace.id);
    if (endpoint !== undefined && !this.#isClosing) {
      this.#controllers.get(workspace.id)?.noteDemand();
      return endpoint;
    }
    return this.#told(workspace, () =>
      this.#ask(workspace, signal, (controller) => controller.demand(signal)),
    );
  }

  attend(workspace: WorkspaceKey, signal: AbortSignal): Promise<Endpoint> {
    return this.#told(workspace, () =>
      this.#ask(workspace, signal, (controller) => controller.attend(signal)),
    );
  }

  /** What is refused here is counted for `why`. */
  async #told<T>(workspace: WorkspaceKey, ask: () => Promise<T>): Promise<T> {
    try {
      return await ask();
    } catch (error) {
      if (!this.#isClosing) this.#deps.journal.refused(workspace.id, error);
      throw error;
    }
  }

  /** Asks the workspace's cell, once it is known whether an earlier coordinator left it a daemon. */
  async #ask(
    workspace: WorkspaceKey,
    signal: AbortSignal,
    ask: (controller: DaemonController) => Promise<Endpoint>,
  ): Promise<Endpoint> {
    if (this.#isClosing) throw shuttingDown();
    const look = this.#adoption.firstLookAt(workspace.id);
    if (look !== undefined) {
      await untilAborted(look, signal);
      if (this.#isClosing) throw shuttingDown();
    }
    this.#checkHeld(workspace.id);
    return ask(this.#controllerOf(workspace));
  }

  endpointOf(workspaceId: string): Endpoint | undefined {
    return this.#routes.get(workspaceId);
  }

  reachOf(workspaceId: string): Endpoint | undefined {
    return this.#routes.get(workspaceId) ?? this.#controllers.get(workspaceId)?.reach;
  }

  storeRefusalOf(workspaceId: string): unknown {
    return this.#controllers.get(workspaceId)?.current?.feed?.refusal;
  }

  async stored(incarnation: string, seq: number): Promise<boolean> {
    const controller = this.#byIncarnation(incarnation);
    const feed = controller?.current?.feed;
    return controller === undefined || feed === undefined
      ? false
      : this.#told(controller.workspace, () => feed.stored(seq));
  }

  /** @throws ApiError 503 while the workspace's process is not proven ours: it is not signalled. */
  async stop(workspaceId: string, { drainMs, ...end }: FleetStop): Promise<void> {
    const look = this.#adoption.firstLookAt(workspaceId);
    if (look !== undefined) await look;
    this.#checkHeld(workspaceId);
    const { drainTimeoutMs } = this.#deps.settings;
    await this.#controllers.get(workspaceId)?.stop({ ...end, drainMs: drainMs ?? drainTimeoutMs });
  }

  makeSessionRoom(forWorkspaceId: string, limit: number): Promise<void> | undefined {
    const why = `evicted to make room for a session elsewhere (--max-total-sessions is ${limit})`;
    return makeRoom(this.#eviction, { kind: 'session', forWorkspaceId, why });
  }

  roomReport(): RoomReport {
    return roomReport(this.#eviction);
  }

  otherCommandOf(workspaceId: string): readonly string[] | undefined {
    const current = this.#controllers.get(workspaceId)?.current;
    return current && this.#deps.launcher.otherCommandOf(current.process.mark);
  }

  async startWith(workspaceId: string, command: readonly string[] | undefined): Promise<void> {
    await this.#controllers.get(workspaceId)?.startWith(command);
  }

  view(workspaceId: string): DaemonView | undefined {
    const view = this.#controllers.get(workspaceId)?.view();
    const held = this.#adoption.heldIn(workspaceId);
    if (held === undefined || view?.pid != null) return view;
    const { workspace, row, why } = held;
    return {
      workspace,
      state: 'held',
      incarnation: row.incarnation,
      pid: row.pid,
      version: row.version,
      agent: null,
      lastBeat: null,
      isFeedUp: false,
      waiters: 0,
      heldWhy: why,
      starts: this.#deps.store.daemons.countStarts(workspaceId),
      // Nothing has ended yet, as far as anybody knows.
      lastExit: null,
    };
  }

  views(): readonly DaemonView[] {
    const ids = new Set([
      ...this.#controllers.keys(),
      ...this.#adoption.held.map(({ workspace }) => workspace.id),
    ]);
    return [...ids].map((id) => this.view(id)).filter((view) => view !== undefined);
  }

  async adoptAll(): Promise<void> {
    this.#adopting = this.#adoption.reconcile();
    await this.#adopting;
    if (!this.#isClosing)
      this.#ticker ??= startUpkeep(this.#deps, {
        controllers: () => this.#controllers.values(),
        reconcile: () => this.#adoption.reconcile(),
      });
  }

  async stopAll(deadlineMs: number): Promise<void> {
    this.#isClosing = true;
    const { clock, settings } = this.#deps;
    const drainMs = Math.max(0, Math.min(settings.drainTimeoutMs, deadlineMs - settings.stopGraceMs));
    const deadline = clock.after(deadlineMs, () => this.killAllNow());
    // Cancels the periods at once; what runs of them may end beside the daemons.
    const isQuiet = this.#ticker?.stop();
    await this.#adoptionOver();
    const stop = { reason: 'the coordinator stops its daemons', kind: 'stopped', drainMs } as const;
    const stopControllers = () =>
      Promise.all([...this.#controllers.values()].map((controller) => controller.stop(stop)));
    await Promise.all([stopControllers(), isQuiet]);
    // The last reconciliation may have adopted one behind the first look.
    await stopControllers();
    deadline.cancel();
    await this.detach();
  }

  killAllNow(): void {
    for (const controller of this.#controllers.values()) controller.killNow();
  }

  async detach(): Promise<void> {
    this.#isClosing = true;
    await this.#adoptionOver();
    await this.#ticker?.stop();
    for (const controller of this.#controllers.values()) controller.detach();
    this.#deps.journal.flush(true);
    await this.#deps.recorder.flushSeen();
  }

  forget(workspaceId: string): void {
    this.#checkHeld(workspaceId);
    const controller = this.#controllers.get(workspaceId);
    if (controller?.isBusy)
      throw fail('workspace_busy', `The daemon of ${controller.workspace.path} has not ended`, {
        workspaceId,
      });
    this.#controllers.delete(workspaceId);
  }

  async #adoptionOver(): Promise<void> {
    try {
      await this.#adopting;
    } catch {
      // The caller of adoptAll hears of it.
    }
  }

  #controllerOf(workspace: WorkspaceKey): DaemonController {
    const known = this.#controllers.get(workspace.id);
    if (known !== undefined) return known;
    const controller = new DaemonController(workspace, {
      ...this.#deps,
      routes: this.#routes,
      startGate: this.#startGate,
      admit: () => {
        if (this.#isClosing) throw shuttingDown();
        return this.#admit();
      },
      makeRoom: () =>
        makeRoom(this.#eviction, {
          kind: 'daemon',
          forWorkspaceId: workspace.id,
          why: `evicted to make room for ${workspace.path} (--max-daemons is ${this.#deps.settings.maxDaemons})`,
        }),
      operatorSettings: () => this.#deps.store.workspaces.settings(workspace.id),
    });
    this.#controllers.set(workspace.id, controller);
    return controller;
  }

  #admit() {
    const { maxDaemons, stopGraceMs } = this.#deps.settings;
    const held = this.#adoption.held.map(({ row }) => ({ state: 'failed' as const, pid: row.pid }));
    const occupied = [...this.#controllers.values()].map((controller) => controller.occupancy);
    const refusal = admitDaemon(maxDaemons, [...occupied, ...held], stopGraceMs);
    return refusal && { ...refusal, context: { ...refusal.context, ...this.roomReport() } };
  }

  #checkHeld(workspaceId: string): void {
    const held = this.#adoption.heldIn(workspaceId);
    if (held !== undefined)
      throw heldRefusal(held.workspace, held.row.pid, held.why, this.#deps.settings.reconcilePeriodMs);
  }

  #byIncarnation(incarnation: string): DaemonController | undefined {
    // The incarnation begins with the workspace's id, but that is the store's affair.
    return [...this.#controllers.values()].find((controller) => controller.current?.id === incarnation);
  }
}
