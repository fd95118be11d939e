// Runs the state table of one cell: drops events of other incarnations, takes one event at a time, calls the effects.
import type { Log } from '../../daemon/contract/log.ts';
import { accepts, type Effect, type Event, type State, step } from '../domain/daemon-state.ts';

export type Effects = Readonly<Record<Effect, (event: Event) => void>>;

export interface MachineDeps {
  readonly log: Log;
  readonly effects: Effects;
  readonly currentIncarnation: () => string | undefined;
  /** Called for every event that means something, after the state has changed and before the effects run. */
  readonly taken: (event: Event, previous: State) => void;
}

export class Machine {
  readonly #deps: MachineDeps;
  #state: State = 'stopped';
  /** Events that effects cause wait here, so that each meets the state that the one before has left. */
  readonly #queue: Event[] = [];
  #isRunning = false;

  constructor(deps: MachineDeps) {
    this.#deps = deps;
  }

  get state(): State {
    return this.#state;
  }

  dispatch(event: Event): void {
    this.#queue.push(event);
    if (this.#isRunning) return;
    this.#isRunning = true;
    try {
      for (let next = this.#queue.shift(); next !== undefined; next = this.#queue.shift()) this.#take(next);
    } finally {
      this.#isRunning = false;
    }
  }

  #take(event: Event): void {
    if (!accepts(this.#deps.currentIncarnation(), event)) return;
    const row = step(this.#state, event);
    if (row === undefined) return;
    const previous = this.#state;
    this.#state = row.next;
    if (row.next !== previous)
      this.#deps.log.info({ from: previous, to: row.next, event: event.type }, 'daemon state');
    this.#deps.taken(event, previous);
    for (const effect of row.effects) this.#deps.effects[effect](event);
  }
}
