// The controller of one workspace's daemon: feeds events to the state table (domain/daemon-state.ts) and runs the effects that
// the table names. Decides nothing itself: the state table, the restart policy and admission do.
import type { Clock } from '../../../daemon/contract/clock.ts';
import type { Log } from '../../../daemon/contract/log.ts';
import type { Occupancy } from '../../domain/admission.ts';
import { type Event, type State, step } from '../../domain/daemon-state.ts';
import type { DaemonExit } from '../../launch/launcher.ts';
import type { Endpoint } from '../../upstream/endpoint.ts';
import type { DaemonView, WorkspaceKey } from '../fleet.ts';
import * as refusals from '../refusals.ts';
import type { SuperviseSettings } from '../settings.ts';
import { type DeathRecorder, type Deaths, endOf, type Next, type SpawnFailed } from './daemon-end.ts';
import { Demand, type StartConditions } from './demand.ts';
import { Incarnation, type IncarnationDeps, type KnownBefore, type Origin } from './incarnation.ts';
import { type Effects, Machine } from './machine.ts';
import type { Spawner } from './spawn.ts';
import type { WaiterLimits } from './waiters.ts';

/** What a controller gets from the fleet: the conditions for a start, and the routes. */
export interface FleetSide extends StartConditions {
  /** Endpoints of ready daemons by workspace id. The controller owns its workspace's entry. */
  readonly routes: Map<string, Endpoint>;
}

export interface ControllerDeps {
  readonly fleet: FleetSide;
  readonly spawner: Spawner;
  readonly deaths: Deaths;
  readonly deathRecorder: DeathRecorder;
  readonly incarnation: Omit<IncarnationDeps, 'machine'>;
  readonly clock: Clock;
  readonly log: Log;
  readonly settings: WaiterLimits & Pick<SuperviseSettings, 'drainTimeoutMs'>;
}

/** The members of a `DaemonView` that the controller knows. */
export type ControllerView = Omit<DaemonView, 'starts' | 'heldWhy'>;

export class DaemonController {
  readonly workspace: WorkspaceKey;
  readonly #deps: ControllerDeps;
  readonly #machine: Machine;
  readonly #demand: Demand;
  /** The incarnation whose process runs, from its spawn or adoption to its exit; else undefined. */
  #current: Incarnation | undefined;
  /** Resolves when the process of the newest incarnation is gone and its end is recorded. */
  #gone: Promise<void> = Promise.resolve();
  /** Settles the promise of `stopIdle` with false: the daemon has work after all and stays. */
  #stays: () => void = () => undefined;
  /** Program and first arguments for the next daemon; undefined: the configured command. */
  #command: readonly string[] | undefined;

  constructor(workspace: WorkspaceKey, deps: ControllerDeps) {
    const { fleet: conditions, clock, log, settings, deaths } = deps;
    this.workspace = workspace;
    this.#deps = deps;
    this.#machine = new Machine({
      clock,
      log,
      effects: this.#effects(),
      currentIncarnation: () => this.#current?.id,
      taken: (event, previous) => this.#taken(event, previous),
    });
    const machine = this.#machine;
    this.#demand = new Demand(workspace, { conditions, clock, log, settings, machine, deaths });
  }

  /** The incarnation whose process runs, in whatever state; undefined when none runs. */
  get current(): Incarnation | undefined {
    return this.#current;
  }

  /** Whether the daemon is ready and its route published. */
  get isReady(): boolean {
    return this.#machine.state === 'ready';
  }

  /** The daemon's endpoint while it has its sessions: in the states `ready` and `draining`; else undefined. */
  get reach(): Endpoint | undefined {
    const isReachable = this.#machine.state === 'ready' || this.#machine.state === 'draining';
    return isReachable ? this.#current?.endpoint : undefined;
  }

  /** Whether a process of the daemon runs, or requests wait for one. */
  get isBusy(): boolean {
    return this.#current !== undefined || this.#demand.size > 0;
  }

  /** As `Fleet.ensureReady`. */
  async demand(signal: AbortSignal): Promise<Endpoint> {
    const endpoint = this.#deps.fleet.routes.get(this.workspace.id);
    if (endpoint === undefined) return this.#demand.wait(signal);
    this.noteDemand();
    return endpoint;
  }

  /** Notes that a request is being sent to the daemon, so that it does not count as idle. */
  noteDemand(): void {
    this.#current?.facts.demanded(this.#deps.clock.monotonicMs());
  }

  /** As `Fleet.attend`. */
  async attend(signal: AbortSignal): Promise<Endpoint> {
    return this.#deps.fleet.routes.get(this.workspace.id) ?? this.#demand.attend(signal);
  }

  /** Ends the daemon after its turns, which may go on for `drainMs`. Resolves when its process is gone and its end recorded. */
  stop(stop: Omit<Extract<Event, { type: 'stop' }>, 'type' | 'hasServed'>): Promise<void> {
    this.#machine.dispatch({ type: 'stop', ...stop, hasServed: this.#current?.wasReady ?? false });
    return this.#gone;
  }

  /**
   * Ends an idle daemon; its sessions become dormant. Does nothing unless the daemon is ready. Resolves true when the daemon is
   * gone, false when it was not ready, or has said that it has work after all and stays.
   */
  stopIdle(reason: string): Promise<boolean> {
    const current = this.#current;
    if (this.#machine.state !== 'ready' || current === undefined) return Promise.resolve(false);
    const stays = new Promise<false>((resolve) => {
      this.#stays = () => resolve(false);
    });
    this.#machine.dispatch({ type: 'idle', incarnation: current.id, reason });
    return Promise.race([this.#gone.then(() => true), stays]);
  }

  /** As `Fleet.startWith`. Waits for the end of a daemon that is in state `stopping`. */
  async startWith(command: readonly string[] | undefined): Promise<void> {
    this.#command = command;
    if (this.#machine.state === 'stopping') await this.#gone;
    this.#deps.deaths.forget();
    this.#machine.dispatch({ type: 'reset' });
  }

  /** Takes over a daemon of an earlier coordinator. Returns false, and does nothing, when another daemon is under way. */
  adopt(origin: Origin, known: KnownBefore & { readonly isEnding: boolean }): boolean {
    const { incarnation } = origin.process;
    const event: Event = { type: 'adopted', incarnation, isEnding: known.isEnding };
    if (this.#current !== undefined || step(this.#machine.state, event) === undefined) return false;
    this.#own(origin, known);
    this.#machine.dispatch(event);
    return true;
  }

  /** Gives the daemon up, which neither beats nor answers a probe. Does nothing unless `incarnation` is the current one. */
  beatsLost(incarnation: string, why: string): void {
    this.#machine.dispatch({ type: 'beats_lost', incarnation, why });
  }

  killNow(): void {
    this.#current?.process.killNow();
  }

  /** Ends timer, feed and route, and rejects the requests that wait. The daemon goes on running. */
  detach(): void {
    this.#machine.cancelTimer();
    this.#current?.unfollow();
    this.#deps.fleet.routes.delete(this.workspace.id);
    this.#demand.failAll(refusals.shuttingDown());
  }

  get occupancy(): Occupancy {
    return { state: this.#machine.state, hasProcess: this.#current !== undefined };
  }

  view(): ControllerView {
    const current = this.#current;
    return {
      workspace: this.workspace,
      state: this.#machine.state,
      pid: current?.process.facts.pid ?? null,
      incarnation: current?.id ?? null,
      version: current?.version ?? null,
      agent: current?.facts.agent ?? null,
      lastBeat: current?.facts.lastBeat ?? null,
      isFeedUp: current?.feed?.isUp ?? false,
      waiters: this.#demand.size,
      lastExit: this.#deps.deaths.lastExit,
    };
  }

  #effects(): Effects {
    const { settings } = this.#deps;
    return {
      spawn: () => this.#spawn(),
      record_ready: (event) => {
        if (event.type === 'listening') this.#current?.recordListening(event.version);
      },
      follow_feed: () => this.#current?.followFeed(),
      publish_route: () => this.#publishRoute(),
      withdraw_route: () => this.#deps.fleet.routes.delete(this.workspace.id),
      wake_waiters: () => this.#wakeWaiters(),
      fail_waiters: (event) => this.#demand.failAll(this.#deps.deaths.refusalAfter(event)),
      serve_parked: () => this.#demand.serveParked(),
      begin_drain: (event) =>
        event.type === 'stop'
          ? this.#current?.drain(event.drainMs)
          : this.#current?.endIfQuiet(settings.drainTimeoutMs),
      terminate: () => this.#current?.terminate(),
      arm_backoff: () =>
        this.#machine.dispatchAfter(this.#deps.deaths.retryAfterMs, { type: 'backoff_over' }),
    };
  }

  #taken(event: Event, previous: State): void {
    // After the effects, which wake this daemon's waiters first: the start that may begin now may look for a daemon to evict.
    if (previous === 'starting' && this.#machine.state !== 'starting')
      this.#machine.whenSettled(() => this.#demand.startEnded());
    this.#current?.noteCause(event);
    if (event.type === 'busy') {
      this.noteDemand();
      this.#stays();
    }
    if (event.type === 'exited') this.#current = undefined;
    if (event.type === 'exited' || event.type === 'spawn_failed') this.#deps.deaths.follow(event.verdict);
  }

  #spawn(): void {
    let failure: SpawnFailed | undefined;
    // Judged only once: the failed start is recorded with this verdict, and the state table acts on the same verdict.
    const failed = (error: unknown) => {
      failure ??= this.#deps.deaths.judgeSpawn(error);
      return failure;
    };
    try {
      const { workspace } = this;
      const { process, secret, ready } = this.#deps.spawner.spawn({
        workspace,
        command: this.#command,
        nextAfter: (error) => this.#nextAfter(failed(error)),
      });
      const origin = { workspaceId: workspace.id, process, secret, address: undefined };
      this.#own(origin, { version: null, wasReady: false }).awaitReady(ready);
    } catch (error) {
      this.#deps.log.error({ err: error }, 'no daemon could be started');
      this.#machine.dispatch({ ...failed(error), error });
    }
  }

  #nextAfter(event: Extract<Event, { verdict: unknown }>): Next {
    return this.#deps.deaths.nextAfter(step(this.#machine.state, event)?.next, event.verdict);
  }

  #own(origin: Origin, known: KnownBefore): Incarnation {
    const deps = { ...this.#deps.incarnation, machine: this.#machine };
    const incarnation = new Incarnation(deps, origin, known);
    this.#current = incarnation;
    this.#gone = incarnation.whenEnded((exit) => this.#exited(incarnation, exit));
    return incarnation;
  }

  #publishRoute(): void {
    const current = this.#current;
    if (current?.endpoint === undefined) return;
    current.markReady();
    this.#deps.fleet.routes.set(this.workspace.id, current.endpoint);
  }

  #wakeWaiters(): void {
    const endpoint = this.#current?.endpoint;
    if (endpoint === undefined) return;
    if (this.#demand.size > 0) this.noteDemand();
    this.#demand.wake(endpoint);
    this.#stopIfDrained();
  }

  /** Stops the daemon if its workspace is drained: by an earlier coordinator, or while this daemon was being adopted. */
  #stopIfDrained(): void {
    const { fleet, settings } = this.#deps;
    try {
      const { holdReason, holdDrainMs } = fleet.operatorSettings();
      if (holdReason === null) return;
      const drainMs = holdDrainMs ?? settings.drainTimeoutMs;
      void this.stop({ reason: `drained: ${holdReason}`, kind: 'stopped', drainMs });
    } catch (error) {
      this.#deps.log.warn({ err: error }, 'whether the workspace is drained cannot be read');
    }
  }

  #exited(incarnation: Incarnation, exit: DaemonExit): void {
    const { id, source, cause, wasReady } = incarnation;
    const { code, signal, lastLines } = exit;
    const verdict = this.#deps.deaths.judge({ end: endOf(cause), wasReady, code });
    const event = { type: 'exited', incarnation: id, verdict } as const;
    const reason = cause?.reason ?? refusals.wordsOfExit(exit);
    this.#deps.deaths.lastExit = { atMs: this.#deps.clock.nowMs(), code, signal, reason, lastLines };
    this.#deps.deathRecorder.record({
      source,
      exit,
      reason,
      kind: cause?.kind ?? 'died',
      watched: incarnation.watched(),
      next: this.#nextAfter(event),
    });
    this.#machine.dispatch(event);
  }
}
