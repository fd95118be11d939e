// Parks the requests that need one workspace's daemon until it is ready, and starts the daemon for them: as soon as the workspace
// does not cool off, is not drained, other daemons' starts leave a place, and admission allows another daemon.
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

/** The conditions for a start of one workspace's daemon that lie outside its controller. */
export interface StartConditions {
  /** Why no further daemon may start now; undefined when a start is allowed. */
  readonly admit: () => Refusal | undefined;
  /** Begins to end an idle daemon of another workspace. Resolves when it is gone; undefined when no daemon can be ended. */
  readonly makeRoom: () => Promise<void> | undefined;
  readonly startGate: StartGate;
  /** The operators' settings of the workspace, among them whether it is drained. @throws ApiError 507. */
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
  /** Whether another daemon is being ended to make room for this one. Then no second one is, however many requests wait. */
  #isRoomComing = false;

  constructor(workspace: WorkspaceKey, deps: DemandDeps) {
    const { clock, log, machine, settings } = deps;
    this.#workspace = workspace;
    this.#deps = deps;
    this.#waiters = new Waiters(workspace, clock, settings, () =>
      log.info({ state: machine.state }, 'no request waits for the daemon any more'),
    );
  }

  /** Number of requests that wait. */
  get size(): number {
    return this.#waiters.size;
  }

  /** Waits until the daemon is ready, and starts it when it is neither ready nor starting. @throws as `Fleet.ensureReady`. */
  wait(signal: AbortSignal): Promise<Endpoint> {
    const refusal = this.#coolOffRefusal();
    if (refusal !== undefined) throw refusal;
    this.#checkDrain();
    const parked = this.#waiters.park(signal);
    this.#askForStart();
    return parked;
  }

  /**
   * Waits for a daemon that is in state `starting`. Starts nothing.
   * @throws ApiError 503 at once in any other state; else as `wait`.
   */
  attend(signal: AbortSignal): Promise<Endpoint> {
    const { deaths, machine } = this.#deps;
    if (machine.state !== 'starting')
      throw refusals.unavailable(this.#workspace, `it is ${machine.state}`, deaths.retryAfterMs);
    return this.#waiters.park(signal);
  }

  /** Tries to start the daemon if requests still wait, after the events under way; so effects of the state table may call it. */
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

  /** Reports that this workspace's start is over, successful or not, so that the start of another workspace may begin. */
  startEnded(): void {
    this.#deps.conditions.startGate.leave(this.#workspace.id);
  }

  /** Dispatches a demand. If the state table would spawn a daemon for it, this waits first for its turn in the start gate. */
  #askForStart(): void {
    const { conditions, machine } = this.#deps;
    const event: Event = { type: 'demand', isCoolOffOver: this.#coolOffRefusal() === undefined };
    const isSpawn = step(machine.state, event)?.effects.includes('spawn') ?? false;
    if (isSpawn) conditions.startGate.enter(this.#workspace.id, () => this.#enterStart(event));
    else machine.dispatch(event);
  }

  /** As `#beginStart`, when the turn in the start gate comes. An error rejects the requests that wait. */
  #enterStart(event: Event): boolean {
    try {
      return this.#beginStart(event);
    } catch (error) {
      this.#waiters.failAll(error);
      return false;
    }
  }

  /** Starts the daemon if requests still wait and admission allows it, else makes room or rejects them. True when started. */
  #beginStart(event: Event): boolean {
    if (this.#waiters.size === 0 || this.#isRoomComing) return false;
    // Checked again: an operator may have drained the workspace after the requests were parked.
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

  /** Refuses a demand of a drained workspace. @throws ApiError 503 `workspace_draining`; 507 when the store refuses. */
  #checkDrain(): void {
    const { holdReason } = this.#deps.conditions.operatorSettings();
    if (holdReason !== null) throw refusals.draining(this.#workspace, holdReason);
  }

  #coolOffRefusal(): Error | undefined {
    return this.#deps.deaths.coolOffRefusal(this.#deps.machine.state);
  }
}
