// The requests that want one workspace's daemon: they are parked until the daemon is ready, and a start is asked for on their
// behalf. The start begins when neither a cool-off, nor the starts of other daemons, nor admission is against it.
import type { Clock } from '../../../daemon/contract/clock.ts';
import type { Log } from '../../../daemon/contract/log.ts';
import { type Event, step } from '../../domain/daemon-state.ts';
import type { Refusal } from '../../domain/refusal.ts';
import type { WorkspaceSettings } from '../../store/store.ts';
import type { Endpoint } from '../../upstream/endpoint.ts';
import type { WorkspaceKey } from '../fleet.ts';
import * as refusals from '../refusals.ts';
import type { Deaths } from './daemon-end.ts';
import type { Machine } from './machine.ts';
import type { StartGate } from './start-gate.ts';
import { type WaiterLimits, Waiters } from './waiters.ts';

/** What the rest of the fleet may have against a start. */
export interface StartConditions {
  /** Why no further daemon may start now; undefined when one may. */
  readonly admit: () => Refusal | undefined;
  /** Begins to end an idle daemon in favour of this workspace; resolves when it is gone. Undefined when none can go. */
  readonly makeRoom: () => Promise<void> | undefined;
  readonly startGate: StartGate;
  /** What operators have said of the workspace. @throws ApiError 507. */
  readonly operatorSettings: () => WorkspaceSettings;
}

export interface DemandDeps {
  readonly conditions: StartConditions;
  readonly clock: Clock;
  readonly log: Log;
  readonly settings: WaiterLimits;
  readonly machine: Pick<Machine, 'state' | 'dispatch' | 'whenSettled'>;
  readonly deaths: Pick<Deaths, 'coolOffRefusal' | 'retryAfterMs'>;
}

export class Demand {
  readonly #workspace: WorkspaceKey;
  readonly #deps: DemandDeps;
  readonly #waiters: Waiters;
  /** Another daemon is being ended in favour of this one: however many requests wait, that is enough. */
  #isRoomComing = false;

  constructor(workspace: WorkspaceKey, deps: DemandDeps) {
    const { clock, log, machine, settings } = deps;
    this.#workspace = workspace;
    this.#deps = deps;
    this.#waiters = new Waiters(workspace, clock, settings, () =>
      log.info({ state: machine.state }, 'no request waits for the daemon any more'),
    );
  }

  /** How many requests wait. */
  get size(): number {
    return this.#waiters.size;
  }

  /** Waits until the daemon is ready, and asks for a start if need be. @throws ApiError as `Fleet.ensureReady`. */
  wait(signal: AbortSignal): Promise<Endpoint> {
    const refusal = this.#coolOffRefusal();
    if (refusal !== undefined) throw refusal;
    this.#checkDrain();
    const parked = this.#waiters.park(signal);
    this.#askForStart();
    return parked;
  }

  /**
   * Waits for a daemon that is starting already, and starts none.
   * @throws ApiError 503 at once where no daemon is starting; else as `wait`.
   */
  attend(signal: AbortSignal): Promise<Endpoint> {
    const { deaths, machine } = this.#deps;
    if (machine.state !== 'starting')
      throw refusals.unavailable(this.#workspace, `it is ${machine.state}`, deaths.retryAfterMs);
    return this.#waiters.park(signal);
  }

  /** Asks for a start again if requests still wait. Effects may call it: the start begins behind the events under way. */
  serveParked(): void {
    this.#deps.machine.whenSettled(() => {
      if (this.#waiters.size > 0) this.#askForStart();
    });
  }

  wake(endpoint: Endpoint): void {
    this.#waiters.wake(endpoint);
  }

  failAll(error: unknown): void {
    this.#waiters.failAll(error);
  }

  /** This workspace's start is over, however it went: that of another workspace may begin. */
  startEnded(): void {
    this.#deps.conditions.startGate.leave(this.#workspace.id);
  }

  /** Spawns unless the state or admission is against it; the requests that wait then stay parked or are refused. */
  #askForStart(): void {
    const { conditions, machine } = this.#deps;
    const event: Event = { type: 'demand', isCoolOffOver: this.#coolOffRefusal() === undefined };
    const isSpawn = step(machine.state, event)?.effects.includes('spawn') ?? false;
    if (isSpawn) conditions.startGate.enter(this.#workspace.id, () => this.#enterStart(event));
    else machine.dispatch(event);
  }

  /** One more daemon may be starting now. Whatever is against this start is the answer to the requests that wait. */
  #enterStart(event: Event): boolean {
    try {
      return this.#beginStart(event);
    } catch (error) {
      this.#waiters.failAll(error);
      return false;
    }
  }

  /** @returns whether a start has begun. */
  #beginStart(event: Event): boolean {
    if (this.#waiters.size === 0 || this.#isRoomComing) return false;
    // The drain may have begun after the requests were parked.
    this.#checkDrain();
    const { conditions, machine } = this.#deps;
    const refusal = conditions.admit();
    if (refusal === undefined) {
      machine.dispatch(event);
      return machine.state === 'starting';
    }
    const room = conditions.makeRoom();
    if (room === undefined) this.#waiters.failAll(refusals.refused(refusal));
    else void this.#startWhenRoom(room);
    return false;
  }

  async #startWhenRoom(room: Promise<void>): Promise<void> {
    this.#isRoomComing = true;
    try {
      await room;
    } finally {
      this.#isRoomComing = false;
      this.serveParked();
    }
  }

  /** @throws ApiError 503 `workspace_draining` while the workspace is drained; 507. */
  #checkDrain(): void {
    const { holdReason } = this.#deps.conditions.operatorSettings();
    if (holdReason !== null) throw refusals.draining(this.#workspace, holdReason);
  }

  #coolOffRefusal(): Error | undefined {
    return this.#deps.deaths.coolOffRefusal(this.#deps.machine.state);
  }
}
