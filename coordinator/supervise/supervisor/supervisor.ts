// The supervisor implements `Fleet`: it passes each call to the workspace's controller, after the first look for a daemon that an
// earlier coordinator left. It starts and stops adoption, controllers and the periodic jobs.
import { fail } from '../../../daemon/contract/errors.ts';
import type { Endpoint } from '../../upstream/endpoint.ts';
import type { DaemonController } from '../daemon/controller.ts';
import { DeathRecorder, Deaths } from '../daemon/daemon-end.ts';
import { Spawner } from '../daemon/spawn.ts';
import type { DaemonView, Fleet, FleetStop, RoomReport, WorkspaceKey } from '../fleet.ts';
import { held as heldRefusal, shuttingDown } from '../refusals.ts';
import { untilAborted } from '../until-aborted.ts';
import { Adoption } from './adoption.ts';
import { Capacity } from './capacity.ts';
import { Controllers } from './controllers.ts';
import { DaemonSearch } from './daemon-search.ts';
import type { SupervisorDeps } from './deps.ts';
import { HeldWorkspaces } from './held-workspaces.ts';
import type { Ticker } from './ticker.ts';
import { startUpkeep } from './upkeep.ts';

export interface Supervisor extends Fleet {
  /**
   * Adopts the daemons of earlier coordinators, then starts the periodic jobs. Call it once, before the listener opens. The
   * listener need not wait for the promise, because demands wait until their workspace's daemon was searched.
   * Resolves when every daemon is adopted or recorded as ended, or its workspace is held.
   */
  adoptAll(): Promise<void>;
  /** Refuses every demand from now on, shuts every daemon down cleanly, kills those left after `deadlineMs`, then detaches. */
  stopAll(deadlineMs: number): Promise<void>;
  /** Kills the whole tree of every daemon. Synchronous: for a second SIGINT or SIGTERM and for exit handlers. */
  killAllNow(): void;
  /**
   * Stops supervising and leaves the daemons running: ends periodic jobs, feeds and timers, and writes the collected heartbeats.
   * Idempotent. The store must stay open until the promise resolves.
   */
  detach(): Promise<void>;
}

export function createSupervisor(deps: SupervisorDeps): Supervisor {
  return new FleetSupervisor(deps);
}

class FleetSupervisor implements Supervisor {
  readonly #deps: SupervisorDeps;
  readonly #controllers: Controllers;
  readonly #held: HeldWorkspaces;
  readonly #adoption: Adoption;
  /** The adoption at the start. `stopAll` and `detach` wait for its end, so that no daemon is adopted after them. */
  #adopting: Promise<void> | undefined;
  readonly #capacity: Capacity;
  #ticker: Ticker | undefined;
  #isClosing = false;

  constructor(deps: SupervisorDeps) {
    const { store, launcher, link, records, settings, clock, log } = deps;
    const { journal } = records;
    this.#deps = deps;
    this.#held = new HeldWorkspaces(journal, log);
    const deathRecorder = new DeathRecorder({ daemons: store.daemons, clock, log, ...records });
    this.#controllers = this.#makeControllers(deathRecorder);
    this.#capacity = new Capacity({
      controllers: this.#controllers,
      held: this.#held,
      workspaces: store.workspaces,
      journal,
      clock,
      settings,
      isClosing: () => this.#isClosing,
    });
    this.#adoption = new Adoption({
      store,
      search: new DaemonSearch({ launcher, askIdentity: link.askIdentity, clock, settings }),
      held: this.#held,
      fleet: {
        controllerOf: (workspace) => this.#controllers.of(workspace, this.#capacity),
        isOwned: (incarnation) => this.#controllers.running(incarnation) !== undefined,
      },
      deathRecorder,
      journal,
      log,
      stopGraceMs: settings.stopGraceMs,
    });
  }

  #makeControllers(deathRecorder: DeathRecorder): Controllers {
    const { store, launcher, link, records, bridge, settings, clock, log, random } = this.#deps;
    const { daemons } = store;
    const { startTimeoutMs } = settings;
    return new Controllers({
      spawner: new Spawner({ daemons, launcher, clock, bridge, startTimeoutMs }),
      deathRecorder,
      incarnation: {
        daemons,
        recorder: records.recorder,
        link,
        clock,
        settings,
        beatMs: bridge.limits.feedBeatMs,
      },
      deathsOf: (workspace) => new Deaths(workspace, { store, clock, settings, random }),
      clock,
      log,
      settings,
    });
  }

  async ensureReady(workspace: WorkspaceKey, signal: AbortSignal): Promise<Endpoint> {
    const endpoint = this.#controllers.routes.get(workspace.id);
    if (endpoint !== undefined && !this.#isClosing) {
      this.#controllers.find(workspace.id)?.noteDemand();
      return endpoint;
    }
    return this.#counted(workspace, () =>
      this.#ask(workspace, signal, (controller) => controller.demand(signal)),
    );
  }

  attend(workspace: WorkspaceKey, signal: AbortSignal): Promise<Endpoint> {
    return this.#counted(workspace, () =>
      this.#ask(workspace, signal, (controller) => controller.attend(signal)),
    );
  }

  /** Runs `ask`. When it rejects with a refusal, the journal counts that for `why`. */
  async #counted<T>(workspace: WorkspaceKey, ask: () => Promise<T>): Promise<T> {
    try {
      return await ask();
    } catch (error) {
      if (!this.#isClosing) this.#deps.records.journal.refused(workspace.id, error);
      throw error;
    }
  }

  /** Calls `ask` with the workspace's controller, after the first look for a daemon of an earlier coordinator is over. */
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
    return ask(this.#controllers.of(workspace, this.#capacity));
  }

  endpointOf(workspaceId: string): Endpoint | undefined {
    return this.#controllers.routes.get(workspaceId);
  }

  reachOf(workspaceId: string): Endpoint | undefined {
    return this.#controllers.routes.get(workspaceId) ?? this.#controllers.find(workspaceId)?.reach;
  }

  storeRefusalOf(workspaceId: string): unknown {
    return this.#controllers.find(workspaceId)?.current?.feed?.refusal;
  }

  async stored(incarnation: string, seq: number): Promise<boolean> {
    const controller = this.#controllers.running(incarnation);
    const feed = controller?.current?.feed;
    return controller === undefined || feed === undefined
      ? false
      : this.#counted(controller.workspace, () => feed.stored(seq));
  }

  /** As `Fleet.stop`. @throws ApiError 503 while the workspace is held: a process that may be foreign is not signalled. */
  async stop(workspaceId: string, { drainMs, ...end }: FleetStop): Promise<void> {
    const look = this.#adoption.firstLookAt(workspaceId);
    if (look !== undefined) await look;
    this.#checkHeld(workspaceId);
    const { drainTimeoutMs } = this.#deps.settings;
    await this.#controllers.find(workspaceId)?.stop({ ...end, drainMs: drainMs ?? drainTimeoutMs });
  }

  makeSessionRoom(forWorkspaceId: string, limit: number): Promise<void> | undefined {
    return this.#capacity.makeSessionRoom(forWorkspaceId, limit);
  }

  roomReport(): RoomReport {
    return this.#capacity.report();
  }

  otherCommandOf(workspaceId: string): readonly string[] | undefined {
    return this.#controllers.find(workspaceId)?.current?.process.otherCommand();
  }

  async startWith(workspaceId: string, command: readonly string[] | undefined): Promise<void> {
    await this.#controllers.find(workspaceId)?.startWith(command);
  }

  view(workspaceId: string): DaemonView | undefined {
    const controller = this.#controllers.find(workspaceId);
    const starts = this.#deps.store.daemons.countStarts(workspaceId);
    const held = this.#held.of(workspaceId);
    if (held === undefined || controller?.current !== undefined)
      return controller && { ...controller.view(), starts };
    const { workspace, row, why, facts } = held;
    return {
      workspace,
      state: 'held',
      incarnation: row.incarnation,
      pid: facts.pid,
      version: row.version,
      agent: null,
      lastBeat: null,
      isFeedUp: false,
      waiters: 0,
      heldWhy: why,
      starts,
      // The daemon may still run, so it has no exit yet.
      lastExit: null,
    };
  }

  views(): readonly DaemonView[] {
    const ids = new Set([
      ...this.#controllers.all().map(({ workspace }) => workspace.id),
      ...this.#held.list().map(({ workspace }) => workspace.id),
    ]);
    return [...ids].map((id) => this.view(id)).filter((view) => view !== undefined);
  }

  async adoptAll(): Promise<void> {
    this.#adopting = this.#adoption.reconcile();
    await this.#adopting;
    if (!this.#isClosing) this.#ticker ??= this.#startUpkeep();
  }

  #startUpkeep(): Ticker {
    const { store, records, link, clock, log, settings } = this.#deps;
    const { recorder, journal } = records;
    const { askIdentity } = link;
    return startUpkeep(
      { store, recorder, journal, askIdentity, clock, log, settings },
      { controllers: () => this.#controllers.all(), reconcile: () => this.#adoption.reconcile() },
    );
  }

  async stopAll(deadlineMs: number): Promise<void> {
    this.#isClosing = true;
    const { clock, settings } = this.#deps;
    const drainMs = Math.max(0, Math.min(settings.drainTimeoutMs, deadlineMs - settings.stopGraceMs));
    const deadline = clock.after(deadlineMs, () => this.killAllNow());
    // No periodic job begins any more. A job under way may end while the daemons are being stopped.
    const isQuiet = this.#ticker?.stop();
    await this.#adoptionOver();
    const stop = { reason: 'the coordinator stops its daemons', kind: 'stopped', drainMs } as const;
    const stopControllers = () =>
      Promise.all(this.#controllers.all().map((controller) => controller.stop(stop)));
    await Promise.all([stopControllers(), isQuiet]);
    // A periodic reconciliation that was under way may have adopted a daemon after the first call.
    await stopControllers();
    deadline.cancel();
    await this.detach();
  }

  killAllNow(): void {
    for (const controller of this.#controllers.all()) controller.killNow();
  }

  async detach(): Promise<void> {
    this.#isClosing = true;
    await this.#adoptionOver();
    await this.#ticker?.stop();
    for (const controller of this.#controllers.all()) controller.detach();
    this.#deps.records.journal.flush(true);
    await this.#deps.records.recorder.flushSeen();
  }

  forget(workspaceId: string): void {
    this.#checkHeld(workspaceId);
    const controller = this.#controllers.find(workspaceId);
    if (controller?.isBusy)
      throw fail('workspace_busy', `The daemon of ${controller.workspace.path} has not ended`, {
        workspaceId,
      });
    this.#controllers.forget(workspaceId);
  }

  async #adoptionOver(): Promise<void> {
    try {
      await this.#adopting;
    } catch {
      // The caller of `adoptAll` gets this error.
    }
  }

  #checkHeld(workspaceId: string): void {
    const held = this.#held.of(workspaceId);
    if (held !== undefined)
      throw heldRefusal(held.workspace, held.facts.pid, held.why, this.#deps.settings.reconcilePeriodMs);
  }
}
