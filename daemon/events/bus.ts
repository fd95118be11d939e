// One session's event bus: publishes into the ring and pumps the readers. It never copies an event per reader and
// never throws at a publisher.
import { randomUUID } from 'node:crypto';
import type { Clock, Timer } from '../contract/clock.ts';
import { HEAD_STEP } from '../contract/feed.ts';
import type { Log } from '../contract/log.ts';
import { EventRing, type RingBounds } from '../domain/event-ring.ts';
import { type EncodedEvent, type EventTags, frameOf, jsonOf, serialise } from '../domain/frame.ts';

/** A stream that follows the bus by a cursor of its own. */
export interface Reader {
  /** Writes what it can. Called once per batch of events. */
  pump(): void;
  /** Whether its socket takes nothing more and it lags by over half of the ring, for the first time in this spell. */
  claimsPause(): boolean;
}

/** An event that has just been published. */
export interface PublishedEvent extends EncodedEvent {
  readonly tags: EventTags;
  readonly atMs: number;
}

/** Whoever keeps the session's past. It hears of every event in the tick in which it is published. */
export interface Observer {
  note(event: PublishedEvent): void;
  /** Called before any reader is given what was noted: what a client has seen is then in the transcript. */
  flush(): void;
}

export interface BusOptions {
  readonly bounds: RingBounds;
  readonly clock: Clock;
  readonly log: Log;
  /** Ids start above it. */
  readonly idFloor?: number;
  readonly observer?: Observer;
  /** Called whenever the bus has advanced by HEAD_STEP events. */
  readonly onHead: (head: number) => void;
  /** Stops the agent's output; the returned function lets it go on. Called at most once until then. */
  readonly pauseAgent: () => () => void;
}

/**
 * How long a blocked reader may hold the agent back before it risks eviction. Measured on two busy cores: a healthy client
 * that got no processor for 130 ms lost a flood of 60,000 events where this was 50, none of ten did with 250. A reader
 * that really stopped costs the turn no more than that, once.
 */
const PAUSE_MS = 250;

/** The agent is held back for those readers, until all have written something, or for PAUSE_MS. */
interface Pause {
  readonly claimants: Set<Reader>;
  readonly release: () => void;
  timer: Timer;
}

export class Bus {
  readonly epoch = randomUUID();
  readonly ring: EventRing;
  readonly #options: BusOptions;
  readonly #readers = new Set<Reader>();
  #isFlushing = false;
  #hasEnded = false;
  #toldHead: number;
  #pause: Pause | undefined;

  constructor(options: BusOptions) {
    this.#options = options;
    this.ring = new EventRing(options.bounds, options.idFloor);
    this.#toldHead = this.ring.head;
  }

  get readerCount(): number {
    return this.#readers.size;
  }

  /** True after `end()`: a reader that reached the head is done. */
  get hasEnded(): boolean {
    return this.#hasEnded;
  }

  /**
   * Publishes an event.
   * @param json `data` as JSON without a line break, from a caller that has it.
   * @returns its id, or undefined when it was dropped (unserialisable, or the bus has ended).
   */
  publish(type: string, data: unknown, tags: EventTags = {}, json = jsonOf(data)): number | undefined {
    if (this.#hasEnded) return undefined;
    if (json === undefined) {
      this.#options.log.error({ type }, 'event dropped: its data cannot be serialised');
      return undefined;
    }
    const atMs = this.#options.clock.nowMs();
    const tail = serialise(type, json, tags, atMs);
    // Nothing is dropped before the readers were pumped: a ring smaller than one read of the agent's output would
    // otherwise overtake readers that keep up.
    const id = this.ring.append((next) => frameOf(next, type, tail));
    this.#options.observer?.note({ id, type, data, tail, tags, atMs });
    if (id >= this.#toldHead + HEAD_STEP) {
      this.#toldHead = id;
      this.#options.onHead(id);
    }
    this.#scheduleFlush();
    return id;
  }

  attach(reader: Reader): void {
    this.#readers.add(reader);
    this.#options.observer?.flush();
    reader.pump();
  }

  detach(reader: Reader): void {
    this.#readers.delete(reader);
    this.readerDrained(reader);
  }

  /** A blocked reader has written what it could: it does not need the agent to wait any more. */
  readerDrained(reader: Reader): void {
    this.#pause?.claimants.delete(reader);
    if (this.#pause?.claimants.size === 0) this.#releasePause();
  }

  /** No further event; readers end once they have written everything. Idempotent. */
  end(): void {
    if (this.#hasEnded) return;
    this.#hasEnded = true;
    this.#flush();
    this.#releasePause();
  }

  /** One flush per batch: the agent's output arrives in reads of many events, and a microtask runs after each read. */
  #scheduleFlush(): void {
    if (this.#isFlushing) return;
    this.#isFlushing = true;
    queueMicrotask(() => {
      this.#isFlushing = false;
      this.#flush();
    });
  }

  #flush(): void {
    this.#options.observer?.flush();
    for (const reader of [...this.#readers]) reader.pump();
    if (this.#pause === undefined)
      this.#holdAgent([...this.#readers].filter((reader) => reader.claimsPause()));
    // While the agent is held back, hardly anything is added, and what the blocked reader needs is kept for it.
    if (this.#pause === undefined) this.ring.trim();
  }

  #holdAgent(claimants: readonly Reader[]): void {
    if (claimants.length === 0) return;
    const release = this.#options.pauseAgent();
    const { clock } = this.#options;
    const timer = clock.after(PAUSE_MS - 1, () => {
      // A process that got no processor sees its timers before its sockets: a reader may have drained long ago.
      pause.timer = clock.after(1, () => this.#releasePause());
    });
    const pause: Pause = { claimants: new Set(claimants), release, timer };
    this.#pause = pause;
  }

  #releasePause(): void {
    const pause = this.#pause;
    this.#pause = undefined;
    if (pause === undefined) return;
    pause.timer.cancel();
    pause.release();
    this.ring.trim();
  }
}
