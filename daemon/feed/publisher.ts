// Publishes the feed to the coordinator: a snapshot, then each change, every record with a `seq`. Nothing here waits for a
// reader; a reader that is too slow is disconnected, connects again and starts over with a snapshot.
import type { ServerResponse } from 'node:http';
import type { Clock, Timer } from '../contract/clock.ts';
import type { FeedBody, FeedEnded } from '../contract/feed.ts';
import type { Limits } from '../contract/limits.ts';
import type { Log } from '../contract/log.ts';
import type { CoordinatorFeed } from '../sessions/coordinator-feed.ts';
import type { FeedReports } from './reports.ts';

/** How many ended sessions are remembered for the snapshot of the next reader. */
const REMEMBERED_ENDS = 1000;
/** How often the clients' newest heartbeats are published on the feed; the coordinator stores them once a second. */
const SEEN_FLUSH_MS = 200;

export interface FeedPublisherDeps {
  readonly clock: Clock;
  readonly log: Log;
  readonly limits: Pick<Limits, 'feedBeatMs' | 'feedMaxUnreadBytes'>;
  readonly reports: Pick<FeedReports, 'snapshot' | 'beat'>;
}

export class FeedPublisher implements CoordinatorFeed {
  readonly #deps: FeedPublisherDeps;
  readonly #readers = new Set<ServerResponse>();
  readonly #timers: Timer[] = [];
  readonly #followListeners: (() => void)[] = [];
  #seq = 0;
  #ended: FeedEnded[] = [];
  #seen = new Map<string, { sessionId: string; clientId: string | null; atMs: number }>();
  #readerlessSinceMs: number;
  #lastActivityAtMs: number | null = null;

  constructor(deps: FeedPublisherDeps) {
    this.#deps = deps;
    this.#readerlessSinceMs = deps.clock.monotonicMs();
  }

  /** Starts the periodic records: beats and clients' heartbeats. Called once, when the daemon listens. */
  start(): void {
    const { clock, limits } = this.#deps;
    this.#timers.push(
      clock.every(limits.feedBeatMs, () => this.publish({ type: 'beat', beat: this.#beat() })),
    );
    this.#timers.push(clock.every(SEEN_FLUSH_MS, () => this.#flushSeen()));
  }

  /** Stops the periodic records and ends every reader's stream. Idempotent. */
  stop(): void {
    for (const timer of this.#timers) timer.cancel();
    this.#flushSeen();
    for (const reader of this.#readers) reader.end();
    this.#readers.clear();
  }

  /** `seq` of the newest record. */
  get seq(): number {
    return this.#seq;
  }

  /** Monotonic time since which the feed has no reader; undefined while it has one. */
  get readerlessSinceMs(): number | undefined {
    return this.#readers.size > 0 ? undefined : this.#readerlessSinceMs;
  }

  /** Epoch ms of the newest activity of any session, ended sessions included; null before the first activity. */
  get lastActivityAtMs(): number | null {
    return this.#lastActivityAtMs;
  }

  /** Registers a listener that is called whenever a reader connects, before the reader gets its snapshot. */
  onFollowed(listener: () => void): void {
    this.#followListeners.push(listener);
  }

  publish(body: FeedBody): number {
    this.#seq += 1;
    if (body.type === 'session' || body.type === 'prompt') this.#lastActivityAtMs = this.#deps.clock.nowMs();
    if (body.type === 'session_ended') this.#remember(body.ended);
    if (this.#readers.size > 0) {
      const line = `${JSON.stringify({ seq: this.#seq, ...body })}\n`;
      for (const reader of [...this.#readers]) this.#write(reader, line);
    }
    return this.#seq;
  }

  seen(sessionId: string, clientId: string | undefined, atMs: number): void {
    this.#lastActivityAtMs = atMs;
    this.#seen.set(`${sessionId}\0${clientId ?? ''}`, { sessionId, clientId: clientId ?? null, atMs });
  }

  /**
   * Streams the feed to `res`, a snapshot first, until either side ends the stream. The caller has written the response's head.
   */
  follow(res: ServerResponse): void {
    for (const listener of this.#followListeners) listener();
    this.#seq += 1;
    const snapshot = this.#deps.reports.snapshot();
    const beat = this.#beat();
    const record = { seq: this.#seq, type: 'snapshot', ...snapshot, ended: this.#ended, beat };
    this.#readers.add(res);
    res.on('close', () => this.#left(res));
    this.#write(res, `${JSON.stringify(record)}\n`);
  }

  #beat() {
    return { ...this.#deps.reports.beat(), lastActivityAtMs: this.#lastActivityAtMs };
  }

  #write(reader: ServerResponse, line: string): void {
    reader.write(line);
    if (reader.writableLength <= this.#deps.limits.feedMaxUnreadBytes) return;
    this.#deps.log.warn({ unreadBytes: reader.writableLength }, 'feed reader is too slow: cut');
    reader.destroy();
    this.#left(reader);
  }

  #left(reader: ServerResponse): void {
    this.#readers.delete(reader);
    if (this.#readers.size === 0) this.#readerlessSinceMs = this.#deps.clock.monotonicMs();
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
