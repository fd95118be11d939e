// The finished turns of a session's replay, each with its texts merged. When all turns together exceed the bound in bytes,
// the oldest are dropped.
import type { PastEvent } from './journal.ts';
import { isOfTranscript, mergeTexts } from './transcript.ts';

/** Counts of what is missing before the oldest kept turn: turns that are missing as a whole, and all missing events. */
export interface Dropped {
  readonly turns: number;
  readonly events: number;
}

interface Turn {
  /** The turn's events as a JSON array: an old turn is one string in memory, not a tree of objects. */
  readonly json: string;
  readonly events: number;
}

export class FinishedTurns {
  readonly #maxBytes: number;
  readonly #turns: Turn[] = [];
  #bytes = 0;
  #dropped: Dropped = { turns: 0, events: 0 };

  /** @param maxBytes bound of all turns together, as JSON text. */
  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  /** What was dropped to keep the bound, plus all that `noteMissing` was called with. */
  get dropped(): Dropped {
    return this.#dropped;
  }

  get hasDropped(): boolean {
    return this.#dropped.events > 0 || this.#dropped.turns > 0;
  }

  /** The events of all kept turns, oldest first. */
  events(): PastEvent[] {
    return this.#turns.flatMap(({ json }) => JSON.parse(json) as PastEvent[]);
  }

  /** Adds to `dropped` turns and events that were lost before they could be added. */
  noteMissing({ turns, events }: Dropped): void {
    this.#dropped = { turns: this.#dropped.turns + turns, events: this.#dropped.events + events };
  }

  /** Adds a turn. Events that belong to no transcript are left out; a turn that alone exceeds the bound keeps its end. */
  add(events: readonly PastEvent[]): void {
    const merged = mergeTexts(events.filter(({ type, data }) => isOfTranscript(type, data)));
    if (merged.length === 0) return;
    const kept = newestWithin(merged, this.#maxBytes);
    this.noteMissing({ turns: 0, events: merged.length - kept.length });
    const turn = { json: `[${kept.join(',')}]`, events: kept.length };
    this.#turns.push(turn);
    this.#bytes += turn.json.length;
    this.#dropOldTurns();
  }

  #dropOldTurns(): void {
    let count = 0;
    while (count < this.#turns.length && this.#bytes > this.#maxBytes) {
      const turn = this.#turns[count] as Turn;
      this.#bytes -= turn.json.length;
      this.noteMissing({ turns: 1, events: turn.events });
      count += 1;
    }
    this.#turns.splice(0, count);
  }
}

/** The newest events that fit into `maxBytes`, each as JSON, oldest first. */
function newestWithin(events: readonly PastEvent[], maxBytes: number): string[] {
  const kept: string[] = [];
  let bytes = 2;
  for (const event of events.toReversed()) {
    const json = JSON.stringify(event);
    bytes += json.length + 1;
    if (bytes > maxBytes) break;
    kept.push(json);
  }
  return kept.reverse();
}
