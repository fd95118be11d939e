// One workspace's daemon through its life: events go through the table one at a time, and each effect is one method here.
// Decides nothing itself: the state table, the restart policy and admission do.
import type { Timer } from '../../daemon/contract/clock.ts';
import type { Occupancy } from '../domain/admission.ts';
import { type Event, type State, step } from '../domain/daemon-state.ts';
import type { Refusal } from '../domain/refusal.ts';
import type { DaemonExit, DaemonProcess, Launch } from '../launch/launcher.ts';
import { recordDeath } from './death.ts';
import { Deaths } from './deaths.ts';
import type { DaemonView, Endpoint, WorkspaceKey } from './fleet.ts';
import {
  causeOf,
  endOf,
  type Incarnation,
  incarnationOf,
  type KnownBefore,
  spawnDaemon,
  watchedOf,
} from './incarnation.ts';
import { type Effects, Machine } from './machine.ts';
import * as refusals from './refusals.ts';
import type { StartGate } from './start-gate.ts';
import type { SupervisorDeps } from './supervisor-deps.ts';
import { Waiters } from './waiters.ts';

/** A dead daemon's feed ends at once; only a connection that somebody holds open would take longer. */
const LAST_WORDS_WITHIN_MS = 500;

export interface CellDeps extends SupervisorDeps {
  /** Why no further daemon may start now; undefined when one may. */
  readonly admit: () => Refusal | undefined;
  /** Begins to free a place for this workspace; resolves when it is free. Undefined when none can be freed. */
  readonly makeRoom: () => Promise<void> | undefined;
  readonly startGate: StartGate;
  /** Endpoints of ready daemons by workspace id. The cell owns its workspace's entry. */
  readonly routes: Map<string, Endpoint>;
}

export class Cell {
  readonly workspace: WorkspaceKey;
  readonly #deps: CellDeps;
  readonly #waiters: Waiters;
  readonly #machine: Machine;
  /** The incarnation whose process is there, from spawn or adoption to its exit. */
  #current: Incarnation | undefined;
  /** Settles when the last process is gone and its death is recorded. */
  #gone: Promise<void> = Promise.resolve();
  /** The one timer of a state: the start's deadline, the drain's, or the end of the backoff. */
  #timer: Timer | undefined;
  readonly #deaths: Deaths;
  /** What daemons are started with; undefined: the configured command. */
  #command: readonly string[] | undefined;

  constructor(workspace: WorkspaceKey, deps: CellDeps) {
    const log = deps.log.child({ workspace: workspace.path });
    this.workspace = workspace;
    this.#deps = { ...deps, log };
    this.#deaths = new Deaths(workspace, deps);
    this.#waiters = new Waiters(workspace, deps.clock, deps.settings, () =>
      log.info({ state: this.#machine.state }, 'nobody waits for the daemon any more'),
    );
    this.#machine = new Machine({
      log,
      effects: this.#effects(),
      currentIncarnation: () => this.#current?.id,
      taken: (event, previous) => this.#taken(event, previous),
    });
  }

  /** The incarnation that runs, whatever its state. */
  get current(): Incarnation | undefined {
    return this.#current;
  }

  /** Its route is open. */
  get isReady(): boolean {
    return this.#machine.state === 'ready';
  }

  /** Where its sessions can be reached: while it is ready, and while it ends its turns. */
  get reach(): Endpoint | undefined {
    const isReachable = this.#machine.state === 'ready' || this.#machine.state === 'draining';
    return isReachable ? this.#current?.endpoint : undefined;
  }

  /** A process is there, or somebody waits for one. */
  get isBusy(): boolean {
    return this.#current !== undefined || this.#waiters.size > 0;
  }

  /** As `Fleet.ensureReady`. */
  async demand(signal: AbortSignal): Promise<Endpoint> {
    const endpoint = this.#deps.routes.get(this.workspace.id);
    if (endpoint !== undefined) {
      this.#current?.facts.demanded(this.#deps.clock.monotonicMs());
      return endpoint;
    }
    const refusal = this.#deaths.coolOffRefusal(this.#machine.state);
    if (refusal !== undefined) throw refusal;
    const parked = this.#waiters.park(signal);
    this.#askForStart();
    return parked;
  }

  /**
   * Waits like `demand` for a daemon that is on its way already, and starts none.
   * @throws ApiError 503 at once where none is on its way; else as `demand`.
   */
  async attend(signal: AbortSignal): Promise<Endpoint> {
    const endpoint = this.#deps.routes.get(this.workspace.id);
    if (endpoint !== undefined) return endpoint;
    if (this.#machine.state !== 'starting')
      throw refusals.unavailable(this.workspace, `it is ${this.#machine.state}`, this.#deaths.retryAfterMs);
    return this.#waiters.park(signal);
  }

  /** Resolves when no process is left and its end is recorded. Turns under way may go on for `drainMs`. */
  stop(stop: Omit<Extract<Event, { type: 'stop' }>, 'type'>): Promise<void> {
    this.#machine.dispatch({ type: 'stop', ...stop });
    return this.#gone;
  }

  /** Ends a daemon that is provably idle; its sessions sleep. Nothing unless it is ready. */
  stopIdle(reason: string): Promise<void> {
    if (this.#machine.state !== 'ready') return Promise.resolve();
    this.#withCurrent(({ id: incarnation }) => this.#machine.dispatch({ type: 'idle', incarnation, reason }));
    return this.#gone;
  }

  /** What later daemons are started with (undefined: the configured command). Past deaths are forgotten. */
  async startWith(command: readonly string[] | undefined): Promise<void> {
    this.#command = command;
    if (this.#machine.state === 'stopping') await this.#gone;
    this.#deaths.forget();
    this.#machine.dispatch({ type: 'reset' });
  }

  /** Takes over a process that an earlier coordinator started. False when the cell is not in a state to do so. */
  adopt(process: DaemonProcess, known: KnownBefore & { readonly isEnding: boolean }): boolean {
    const { incarnation } = process.mark;
    const event: Event = { type: 'adopted', incarnation, isEnding: known.isEnding };
    if (this.#current !== undefined || step(this.#machine.state, event) === undefined) return false;
    const current = incarnationOf(this.#deps, this.workspace, process, known);
    this.#own(current);
    this.#machine.dispatch(event);
    if (current.misfit !== undefined)
      this.#armBootTimer(incarnation, this.#deps.settings.drainTimeoutMs, 'its feed');
    return true;
  }

  /** The daemon neither beats nor answers. Ignored unless `incarnation` is the current one. */
  beatsLost(incarnation: string, why: string): void {
    this.#machine.dispatch({ type: 'beats_lost', incarnation, why });
  }

  killNow(): void {
    this.#current?.process.killNow();
  }

  /** Lets go of the daemon without ending it: no timer, no feed, no route, nobody waiting. */
  detach(): void {
    this.#timer?.cancel();
    this.#current?.feed?.close();
    this.#deps.routes.delete(this.workspace.id);
    this.#waiters.failAll(refusals.shuttingDown());
  }

  get occupancy(): Occupancy {
    return { state: this.#machine.state, pid: this.#current?.process.mark.pid ?? null };
  }

  view(): DaemonView {
    const current = this.#current;
    return {
      workspace: this.workspace,
      ...this.occupancy,
      incarnation: current?.id ?? null,
      version: current?.version ?? null,
      agent: current?.facts.agent ?? null,
      lastBeat: current?.facts.lastBeat ?? null,
      isFeedUp: current?.feed?.isUp ?? false,
      waiters: this.#waiters.size,
      starts: this.#deps.store.daemons.countStarts(this.workspace.id),
      lastExit: this.#deaths.lastExit,
    };
  }

  #effects(): Effects {
    return {
      spawn: () => this.#spawn(),
      record_ready: (event) => this.#recordReady(event),
      follow_feed: () => this.#followFeed(),
      publish_route: () => this.#publishRoute(),
      withdraw_route: () => this.#deps.routes.delete(this.workspace.id),
      release_waiters: () =>
        this.#withCurrent(({ endpoint, facts }) => {
          if (this.#waiters.size > 0) facts.demanded(this.#deps.clock.monotonicMs());
          this.#waiters.release(endpoint);
        }),
      fail_waiters: (event) => this.#waiters.failAll(this.#deaths.refusalAfter(event)),
      serve_parked: () => {
        if (this.#waiters.size > 0) this.#askForStart();
      },
      begin_drain: (event) => this.#beginDrain(event),
      terminate: () => this.#withCurrent((current) => this.#terminate(current)),
      arm_backoff: () => this.#arm(this.#deaths.retryAfterMs, { type: 'backoff_over' }),
    };
  }

  #taken(event: Event, previous: State): void {
    if (this.#machine.state !== previous) this.#timer?.cancel();
    if (previous === 'starting' && this.#machine.state !== 'starting')
      this.#deps.startGate.leave(this.workspace.id);
    // The first reason to end a process is the one that is recorded.
    if (this.#current !== undefined) this.#current.cause ??= causeOf(event);
    if (event.type === 'exited') this.#current = undefined;
    if (event.type === 'exited' || event.type === 'spawn_failed') this.#deaths.follow(event.verdict);
  }

  /** Spawns unless the state or admission is against it; those who wait then stay parked or hear the refusal. */
  #askForStart(): void {
    const event: Event = {
      type: 'demand',
      isCoolOffOver: this.#deaths.coolOffRefusal(this.#machine.state) === undefined,
    };
    const isSpawn = step(this.#machine.state, event)?.effects.includes('spawn') ?? false;
    if (isSpawn) this.#deps.startGate.enter(this.workspace.id, () => this.#beginStart(event));
    else this.#machine.dispatch(event);
  }

  /** A place among the starting ones is free. @returns whether a start has begun. */
  #beginStart(event: Event): boolean {
    if (this.#waiters.size === 0) return false;
    const refusal = this.#deps.admit();
    if (refusal === undefined) {
      this.#machine.dispatch(event);
      return this.#machine.state === 'starting';
    }
    const room = this.#deps.makeRoom();
    if (room === undefined) this.#waiters.failAll(refusals.refused(refusal));
    else
      void room.then(() => {
        if (this.#waiters.size > 0) this.#askForStart();
      });
    return false;
  }

  #spawn(): void {
    const { settings } = this.#deps;
    try {
      const launch = spawnDaemon(this.#deps, this.workspace, this.#command);
      const known = { version: null, wasReady: false };
      this.#own(incarnationOf(this.#deps, this.workspace, launch.process, known));
      this.#armBootTimer(launch.process.mark.incarnation, settings.startTimeoutMs, 'its ready line');
      this.#awaitReady(launch);
    } catch (error) {
      const verdict = this.#deaths.judge({ end: 'own', wasReady: false, code: null });
      this.#deps.log.error({ err: error }, 'no daemon could be started');
      this.#machine.dispatch({ type: 'spawn_failed', error, verdict });
    }
  }

  #own(incarnation: Incarnation): void {
    this.#current = incarnation;
    this.#gone = incarnation.process.exited.then(async (exit) => {
      // An acknowledged prompt may be among its last words.
      await incarnation.feed?.drained(LAST_WORDS_WITHIN_MS);
      this.#exited(incarnation, exit);
    });
  }

  #awaitReady({ process: { mark }, ready }: Launch): void {
    const { incarnation, pid, startTime } = mark;
    const failed = (error: unknown) => this.#machine.dispatch({ type: 'start_failed', incarnation, error });
    ready.then(({ version }) => this.#machine.dispatch({ type: 'listening', incarnation, version }), failed);
    try {
      this.#deps.store.daemons.setPid(incarnation, pid, startTime);
    } catch (error) {
      // A process that the database does not know could not be found again, so it must not live on.
      failed(error);
    }
  }

  #recordReady(event: Event): void {
    if (event.type !== 'listening') return;
    const { incarnation, version } = event;
    this.#armBootTimer(incarnation, this.#deps.settings.feedReadyTimeoutMs, 'its feed');
    this.#withCurrent((current) => {
      current.version = version;
    });
    try {
      this.#deps.store.daemons.setReady(incarnation, version);
    } catch (error) {
      this.#machine.dispatch({ type: 'start_failed', incarnation, error });
    }
  }

  #armBootTimer(incarnation: string, afterMs: number, what: string): void {
    this.#arm(afterMs, {
      type: 'boot_timeout',
      incarnation,
      why: `${what} did not come within ${afterMs} ms`,
    });
  }

  #followFeed(): void {
    this.#withCurrent((current) => {
      const { id: incarnation, facts, endpoint } = current;
      current.feed = this.#deps.followFeed(endpoint, {
        record: (record) => {
          facts.take(record, this.#deps.clock.monotonicMs());
          this.#deps.recorder.apply(endpoint, record);
          this.#endDrainIfQuiet(current);
        },
        up: () => {
          this.#machine.dispatch({ type: 'ready', incarnation });
          if (current.misfit !== undefined) this.#replace(current.misfit);
          this.#endDrainIfQuiet(current);
        },
      });
    });
  }

  /** It may end its turns; the next demand starts one that fits. */
  #replace(reason: string): void {
    const { drainTimeoutMs: drainMs } = this.#deps.settings;
    this.#machine.dispatch({ type: 'stop', reason, kind: 'replaced', drainMs });
  }

  #publishRoute(): void {
    this.#withCurrent((current) => {
      current.wasReady = true;
      this.#deps.routes.set(this.workspace.id, current.endpoint);
    });
  }

  #beginDrain(event: Event): void {
    this.#withCurrent((current) => {
      const nowMs = this.#deps.clock.monotonicMs();
      const drainMs = event.type === 'stop' ? event.drainMs : this.#deps.settings.drainTimeoutMs;
      // A second stop may shorten a drain, never lengthen it.
      current.drainUntilMs = Math.min(current.drainUntilMs, nowMs + drainMs);
      this.#arm(current.drainUntilMs - nowMs, { type: 'drained', incarnation: current.id });
      this.#endDrainIfQuiet(current);
    });
  }

  /** A daemon that is given up on is not asked for anything. */
  #terminate(current: Incarnation): void {
    const { process, cause, lettingGo } = current;
    const terminate = () => void process.terminate(this.#deps.settings.stopGraceMs);
    if (cause === undefined || cause.kind === 'died') terminate();
    else void lettingGo.now(() => this.#current === current, terminate);
  }

  /** Where the feed is down nobody knows whether a turn runs: the drain then takes its full time. */
  #endDrainIfQuiet(current: Incarnation): void {
    const { id, feed, facts, lettingGo } = current;
    if (this.#machine.state !== 'draining' || this.#current !== current) return;
    if (feed?.isUp !== true || !facts.isQuiet) return;
    lettingGo.ifQuiet(
      () => this.#machine.dispatch({ type: 'drained', incarnation: id }),
      () => this.#endDrainIfQuiet(current),
    );
  }

  #exited(incarnation: Incarnation, exit: DaemonExit): void {
    incarnation.feed?.close();
    const { cause, wasReady, id } = incarnation;
    const { code, signal, lastLines } = exit;
    const end = endOf(cause);
    const event: Event = {
      type: 'exited',
      incarnation: id,
      verdict: this.#deaths.judge({ end, wasReady, code }),
    };
    const reason = cause?.reason ?? refusals.wordsOfExit(exit);
    this.#deaths.lastExit = { atMs: this.#deps.clock.nowMs(), code, signal, reason, lastLines };
    recordDeath(this.#deps, {
      source: incarnation.endpoint,
      exit,
      reason,
      kind: cause?.kind ?? 'died',
      watched: watchedOf(incarnation),
      next: this.#deaths.nextAfter(step(this.#machine.state, event)?.next, event.verdict),
    });
    this.#machine.dispatch(event);
  }

  #arm(afterMs: number, event: Event): void {
    this.#timer?.cancel();
    this.#timer = this.#deps.clock.after(afterMs, () => this.#machine.dispatch(event));
  }

  #withCurrent(run: (current: Incarnation) => void): void {
    if (this.#current !== undefined) run(this.#current);
  }
}
