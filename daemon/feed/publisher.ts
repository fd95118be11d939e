// What the coordinator hears: a snapshot, then deltas, each with a `seq`. Nothing here waits for a reader; one that does
// not read is cut and starts over with a snapshot.
import type { ServerResponse } from 'node:http';
import type { Clock, Timer } from '../contract/clock.ts';
import type { FeedBeat, FeedBody, FeedEnded } from '../contract/feed.ts';
import type { Limits } from '../contract/limits.ts';
import type { Log } from '../contract/log.ts';

/** Ended sessions that are remembered for the next reader's snapshot. */
const REMEMBERED_ENDS = 1000;
/** Heartbeats of a client are told at most this often; the coordinator stores them once a second. */
const SEEN_FLUSH_MS = 200;

type Snapshot = Omit<Extract<FeedBody, { type: 'snapshot' }>, 'type' | 'ended' | 'beat'>;

export interface FeedPublisherOptions {
  readonly clock: Clock;
  readonly log: Log;
  readonly limits: Limits;
  /** Facts of this instant; called synchronously. */
  readonly snapshot: () => Snapshot;
  readonly beat: () => FeedBeat;
  /** A reader has come. Called before it is told anything. */
  readonly onFollowed: () => void;
}

export class FeedPublisher {
  readonly #o: FeedPublisherOptions;
  readonly #readers = new Set<ServerResponse>();
  readonly #timers: Timer[] = [];
  #seq = 0;
  #ended: FeedEnded[] = [];
  #seen = new Map<string, { sessionId: string; clientId: string | null; atMs: number }>();
  #readerlessSinceMs: number;

  constructor(options: FeedPublisherOptions) {
    this.#o = options;
    this.#readerlessSinceMs = options.clock.monotonicMs();
  }

  /** Starts the beat. Called once, when the daemon listens. */
  start(): void {
    const { clock, limits } = this.#o;
    this.#timers.push(
      clock.every(limits.feedBeatMs, () => this.publish({ type: 'beat', beat: this.#o.beat() })),
    );
    this.#timers.push(clock.every(SEEN_FLUSH_MS, () => this.#flushSeen()));
  }

  /** Ends every reader's stream. Idempotent. */
  stop(): void {
    for (const timer of this.#timers) timer.cancel();
    this.#flushSeen();
    for (const reader of this.#readers) reader.end();
    this.#readers.clear();
  }

  /** Of the record that was told last. */
  get seq(): number {
    return this.#seq;
  }

  /** Monotonic time since which nobody has read; undefined while somebody does. */
  get readerlessSinceMs(): number | undefined {
    return this.#readers.size > 0 ? undefined : this.#readerlessSinceMs;
  }

  /** Tells every reader. @returns the record's `seq`. */
  publish(body: FeedBody): number {
    this.#seq += 1;
    if (body.type === 'session_ended') this.#remember(body.ended);
    if (this.#readers.size > 0) {
      const line = `${JSON.stringify({ seq: this.#seq, ...body })}\n`;
      for (const reader of [...this.#readers]) this.#write(reader, line);
    }
    return this.#seq;
  }

  /** Notes a heartbeat; several of one client within the flush period are told once. */
  seen(sessionId: string, clientId: string | undefined, atMs: number): void {
    this.#seen.set(`${sessionId}\0${clientId ?? ''}`, { sessionId, clientId: clientId ?? null, atMs });
  }

  /** Streams to `res` until either side ends. The head has been written by the caller. */
  follow(res: ServerResponse): void {
    this.#o.onFollowed();
    this.#seq += 1;
    const { snapshot, beat } = this.#o;
    const record = { seq: this.#seq, type: 'snapshot', ...snapshot(), ended: this.#ended, beat: beat() };
    this.#readers.add(res);
    res.on('close', () => this.#left(res));
    this.#write(res, `${JSON.stringify(record)}\n`);
  }

  #write(reader: ServerResponse, line: string): void {
    reader.write(line);
    if (reader.writableLength <= this.#o.limits.feedMaxUnreadBytes) return;
    this.#o.log.warn({ unreadBytes: reader.writableLength }, 'feed reader is too slow: cut');
    reader.destroy();
    this.#left(reader);
  }

  #left(reader: ServerResponse): void {
    this.#readers.delete(reader);
    if (this.#readers.size === 0) this.#readerlessSinceMs = this.#o.clock.monotonicMs();
  }

  #remember(ended: FeedEnded): void {
    this.#ended.push(ended);
    if (this.#ended.length > REMEMBERED_ENDS) this.#ended.shift();
  }

  #flushSeen(): void {
    if (this.#seen.size === 0) return;
    const seen = [...this.#seen.values()];
    this.#seen = new Map();
    this.publish({ type: 'seen', seen });
  }
}
