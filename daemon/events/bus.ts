// One session's event bus: publishes events into the ring and has the readers write them out. It copies no event per reader, and
// `publish` never throws.
import { randomUUID } from 'node:crypto';
import type { Clock, Timer } from '../contract/clock.ts';
import { HEAD_STEP } from '../contract/feed.ts';
import type { Log } from '../contract/log.ts';
import { EventRing, type RingBounds } from '../domain/event-ring.ts';
import { type EncodedEvent, type EventTags, frameOf, jsonOf, serialise } from '../domain/frame.ts';

/** An event stream of a client, which reads the bus's ring from its own cursor on. */
export interface Reader {
  /** Writes as many further events as the stream's socket takes. Called once per batch of events. */
  pump(): void;
  /**
   * Whether the agent is to be paused for this reader: true once when the reader has come to lag by over half of the ring while
   * its socket takes nothing more.
   */
  claimsPause(): boolean;
}

/** An event that has just been published. */
export interface PublishedEvent extends EncodedEvent {
  readonly tags: EventTags;
  readonly atMs: number;
}

/** Receives every event of the bus, in the tick in which the event is published, to keep the session's past. */
export interface BusObserver {
  note(event: PublishedEvent): void;
  /**
   * Writes the noted events out. Called before any reader gets them, so that every event that a client has seen is in the
   * transcript.
   */
  flush(): void;
}

export interface BusOptions {
  readonly bounds: RingBounds;
  readonly clock: Clock;
  readonly log: Log;
  /** The number above which the bus's event ids begin. */
  readonly idFloor?: number;
  readonly observer?: BusObserver;
  /** Called with the newest event id whenever that has advanced by HEAD_STEP since the last call. */
  readonly onHead: (head: number) => void;
  /** Stops reading the agent's output until the returned function is called. The bus does not call it again before that. */
  readonly pauseAgent: () => () => void;
}

/**
 * How long a blocked reader may pause the agent before the ring may drop events that the reader has not had. Measured on two busy
 * cores: with 50 ms, a healthy client that got no processor for 130 ms lost a flood of 60,000 events; with 250 ms none of ten
 * clients did. A reader that really stopped costs the turn no more than this time, once.
 */
const PAUSE_MS = 250;

/** A pause of the agent's output for the readers in `claimants`, until all of them have written something, at most PAUSE_MS. */
interface Pause {
  readonly claimants: Set<Reader>;
  readonly resumeAgent: () => void;
  timer: Timer;
}

export class Bus {
  readonly epoch = randomUUID();
  readonly ring: EventRing;
  readonly #options: BusOptions;
  readonly #readers = new Set<Reader>();
  #isFlushing = false;
  #hasEnded = false;
  #reportedHead: number;
  #pause: Pause | undefined;

  constructor(options: BusOptions) {
    this.#options = options;
    this.ring = new EventRing(options.bounds, options.idFloor);
    this.#reportedHead = this.ring.head;
  }

  get readerCount(): number {
    return this.#readers.size;
  }

  /** True after `end`: a reader that has written the newest event then ends its stream. */
  get hasEnded(): boolean {
    return this.#hasEnded;
  }

  /**
   * Publishes an event.
   * @param json `data` as JSON without a line break, from a caller that has the text already; else it is serialised here.
   * @returns the event's id, or undefined when the event was dropped (its data cannot be serialised, or the bus has ended).
   */
  publish(type: string, data: unknown, tags: EventTags = {}, json = jsonOf(data)): number | undefined {
    if (this.#hasEnded) return undefined;
    if (json === undefined) {
      this.#options.log.error({ type }, 'event dropped: its data cannot be serialised');
      return undefined;
    }
    const atMs = this.#options.clock.nowMs();
    const tail = serialise(type, json, tags, atMs);
    // Appends without trimming: the ring is trimmed after the readers have written, because a ring smaller than one read of the
    // agent's output would otherwise overtake readers that keep up.
    const id = this.ring.append((next) => frameOf(next, type, tail));
    this.#options.observer?.note({ id, type, data, tail, tags, atMs });
    if (id >= this.#reportedHead + HEAD_STEP) {
      this.#reportedHead = id;
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

  /** To be called when a blocked reader has written something: the agent's output is no longer paused for that reader. */
  readerDrained(reader: Reader): void {
    this.#pause?.claimants.delete(reader);
    if (this.#pause?.claimants.size === 0) this.#endPause();
  }

  /** Ends the bus: it takes no further event, and each reader ends once it has written every event. Idempotent. */
  end(): void {
    if (this.#hasEnded) return;
    this.#hasEnded = true;
    this.#flush();
    this.#endPause();
  }

  /** Schedules one flush per batch: the agent's output arrives in reads of many events, and a microtask runs after each read. */
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
      this.#pauseAgent([...this.#readers].filter((reader) => reader.claimsPause()));
    // During a pause the ring is not trimmed: hardly an event is added, and the events that the blocked reader lacks are kept for
    // it.
    if (this.#pause === undefined) this.ring.trim();
  }

  #pauseAgent(claimants: readonly Reader[]): void {
    if (claimants.length === 0) return;
    const resumeAgent = this.#options.pauseAgent();
    const { clock } = this.#options;
    const timer = clock.after(PAUSE_MS - 1, () => {
      // Gives sockets one more round: a process that got no processor handles timers before sockets, so the reader may be able to
      // write.
      pause.timer = clock.after(1, () => this.#endPause());
    });
    const pause: Pause = { claimants: new Set(claimants), resumeAgent, timer };
    this.#pause = pause;
  }

  #endPause(): void {
    const pause = this.#pause;
    this.#pause = undefined;
    if (pause === undefined) return;
    pause.timer.cancel();
    pause.resumeAgent();
    this.ring.trim();
  }
}
