// Runs the state table for one controller: drops events of other incarnations, takes one event at a time, runs its effects, and
// keeps the single timer that a state may have.
import type { Clock, Timer } from '../../../daemon/contract/clock.ts';
import type { Log } from '../../../daemon/contract/log.ts';
import { accepts, type Effect, type Event, type State, step } from '../../domain/daemon-state.ts';

export type Effects = Readonly<Record<Effect, (event: Event) => void>>;

export interface MachineDeps {
  readonly clock: Clock;
  readonly log: Log;
  readonly effects: Effects;
  readonly currentIncarnation: () => string | undefined;
  /** Called for every event that the state table has a row for, after the state has changed and before the effects run. */
  readonly taken: (event: Event, previous: State) => void;
}

export class Machine {
  readonly #deps: MachineDeps;
  #state: State = 'stopped';
  /** Dispatches the deadline of a start or a drain, or the end of a backoff. */
  #timer: Timer | undefined;
  /** Events that were dispatched during another event: each is taken only after the effects of the event before it. */
  readonly #queue: Event[] = [];
  readonly #afterwards: (() => void)[] = [];
  #isRunning = false;

  constructor(deps: MachineDeps) {
    this.#deps = deps;
  }

  get state(): State {
    return this.#state;
  }

  /** The state, if `incarnation` is the controller's current one; else undefined. */
  stateOf(incarnation: string): State | undefined {
    return this.#deps.currentIncarnation() === incarnation ? this.#state : undefined;
  }

  dispatch(event: Event): void {
    this.#queue.push(event);
    if (this.#isRunning) return;
    this.#isRunning = true;
    try {
      for (let next = this.#queue.shift(); next !== undefined; next = this.#queue.shift()) this.#take(next);
    } finally {
      this.#isRunning = false;
      for (const work of this.#afterwards.splice(0)) work();
    }
  }

  /** Runs `work` when no event is being taken: now, or after all events under way. */
  whenSettled(work: () => void): void {
    if (this.#isRunning) this.#afterwards.push(work);
    else work();
  }

  /** Dispatches `event` after `afterMs`, unless the state changes or `dispatchAfter` is called again before. */
  dispatchAfter(afterMs: number, event: Event): void {
    this.cancelTimer();
    this.#timer = this.#deps.clock.after(afterMs, () => this.dispatch(event));
  }

  cancelTimer(): void {
    this.#timer?.cancel();
  }

  #take(event: Event): void {
    if (!accepts(this.#deps.currentIncarnation(), event)) return;
    const row = step(this.#state, event);
    if (row === undefined) return;
    const previous = this.#state;
    this.#state = row.next;
    if (row.next !== previous) {
      this.cancelTimer();
      this.#deps.log.info({ from: previous, to: row.next, event: event.type }, 'daemon state');
    }
    this.#deps.taken(event, previous);
    for (const effect of row.effects) this.#deps.effects[effect](event);
  }
}
