// Runs the state table of one controller: drops events of other incarnations, takes one event at a time, calls the effects, and
// keeps the one timer that a state may have.
import type { Clock, Timer } from '../../../daemon/contract/clock.ts';
import type { Log } from '../../../daemon/contract/log.ts';
import { accepts, type Effect, type Event, type State, step } from '../../domain/daemon-state.ts';

export type Effects = Readonly<Record<Effect, (event: Event) => void>>;

export interface MachineDeps {
  readonly clock: Clock;
  readonly log: Log;
  readonly effects: Effects;
  readonly currentIncarnation: () => string | undefined;
  /** Called for every event that the table has a row for, after the state has changed and before the effects run. */
  readonly taken: (event: Event, previous: State) => void;
}

export class Machine {
  readonly #deps: MachineDeps;
  #state: State = 'stopped';
  /** The deadline of a start or a drain, or the end of a backoff. */
  #timer: Timer | undefined;
  /** Events that effects cause wait here, so that each event meets the state that the event before has left. */
  readonly #queue: Event[] = [];
  readonly #afterwards: (() => void)[] = [];
  #isRunning = false;

  constructor(deps: MachineDeps) {
    this.#deps = deps;
  }

  get state(): State {
    return this.#state;
  }

  /** The state that the incarnation is in; undefined unless it is the current one. */
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

  /** Runs `work` when no event is under way: now, or behind the events that are. */
  whenSettled(work: () => void): void {
    if (this.#isRunning) this.#afterwards.push(work);
    else work();
  }

  /** Dispatches the event after `afterMs`, unless the state changes or another timer is set before. */
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
