// Follows one daemon's feed until `close`: connects, checks the order of the records, passes them to a sink, reconnects when the
// connection is lost. Only the sink knows what a record means.
import type { ClientRequest, IncomingMessage } from 'node:http';
import type { Clock, Timer } from '../../../daemon/contract/clock.ts';
import { messageOf } from '../../../daemon/contract/errors.ts';
import { type FeedRecord, parseFeedRecord } from '../../../daemon/contract/feed.ts';
import type { Log } from '../../../daemon/contract/log.ts';
import type { Endpoint } from '../../upstream/endpoint.ts';
import { requestFeed } from '../../upstream/feed-request.ts';
import type { SuperviseSettings } from '../settings.ts';
import { FeedLineSplitter } from './line-splitter.ts';
import { StoredWatermark } from './stored-watermark.ts';

/** What takes the records of a feed. */
export interface FeedSink {
  /**
   * Takes one record. Records come in order and without gaps; the first one after each connect is a snapshot.
   * @throws when the record could not be stored; the feed then starts over with a new snapshot.
   */
  record(record: FeedRecord): void;
  /** Called once after every connect, when the sink has taken the snapshot. */
  up(): void;
}

/** A daemon's feed that is being followed. */
export interface FollowedFeed {
  /** Whether the current connection is open and its snapshot is stored. */
  readonly isUp: boolean;
  /** The error with which the store refused the last record; undefined when it took the last record, or none came yet. */
  readonly refusal: unknown;
  /** As `Fleet.stored`. */
  stored(seq: number): Promise<boolean>;
  /** Closes the connection to the daemon and makes a new one after the usual wait. */
  reconnect(why: string): void;
  /**
   * Resolves when the sink has taken all records that a dead daemon had sent: its process may be gone before its last records are
   * read. Never rejects; resolves after `withinMs` in any case.
   */
  drained(withinMs: number): Promise<void>;
  /** Stops following the feed; pending `stored` calls resolve false. Idempotent. */
  close(): void;
}

/** Begins to follow the feed of the daemon at `target`; connects at once. */
export type FollowFeed = (target: Endpoint, sink: FeedSink) => FollowedFeed;

export interface FeedDeps {
  readonly clock: Clock;
  readonly log: Log;
  readonly settings: Pick<SuperviseSettings, 'feedReconnectMs' | 'feedMaxLineBytes' | 'feedStoredWaitMs'>;
}

/** Makes the function that follows a daemon's feed over HTTP. */
export function feedFollower(deps: FeedDeps): FollowFeed {
  return (target, sink) => new FeedFollower(deps, target, sink);
}

/** The wait before a reconnect doubles with every attempt, up to this many times `feedReconnectMs`. */
const MAX_BACKOFF_FACTOR = 16;

class FeedFollower implements FollowedFeed {
  readonly #deps: FeedDeps;
  readonly #target: Endpoint;
  readonly #sink: FeedSink;
  readonly #watermark: StoredWatermark;
  readonly #log: Log;
  /** The current connection; undefined between two. Bytes that an older connection still delivers are ignored. */
  #connection: ClientRequest | undefined;
  #retry: Timer | undefined;
  /** Number of attempts to connect since the last snapshot. */
  #attempts = 0;
  /** Number of the last record that was stored from this connection; undefined until its snapshot is stored. */
  #lastSeq: number | undefined;
  #isClosed = false;

  constructor(deps: FeedDeps, target: Endpoint, sink: FeedSink) {
    this.#deps = deps;
    this.#target = target;
    this.#sink = sink;
    this.#watermark = new StoredWatermark(deps.clock, deps.settings.feedStoredWaitMs);
    this.#log = deps.log.child({ incarnation: target.incarnation });
    this.#connect();
  }

  get isUp(): boolean {
    return this.#lastSeq !== undefined;
  }

  get refusal(): unknown {
    return this.#watermark.refusal;
  }

  stored(seq: number): Promise<boolean> {
    return this.#isClosed ? Promise.resolve(false) : this.#watermark.wait(seq);
  }

  reconnect(why: string): void {
    if (this.#isClosed) return;
    this.#drop(why);
  }

  drained(withinMs: number): Promise<void> {
    const connection = this.#connection;
    if (connection === undefined) return Promise.resolve();
    return new Promise((resolve) => {
      const timer = this.#deps.clock.after(withinMs, resolve);
      // The `close` event comes only after all bytes in the socket have been read.
      connection.once('close', () => {
        timer.cancel();
        resolve();
      });
    });
  }

  close(): void {
    this.#isClosed = true;
    this.#retry?.cancel();
    this.#lastSeq = undefined;
    this.#connection?.destroy();
    this.#connection = undefined;
    this.#watermark.close();
  }

  #connect(): void {
    const connection = requestFeed(this.#target);
    this.#connection = connection;
    const lost = (why: string) => {
      if (this.#connection === connection) this.#drop(why);
    };
    connection.on('response', (response) => this.#read(connection, response, lost));
    connection.on('error', (error) => lost(error.message));
    connection.on('close', () => lost('the connection was closed'));
    connection.end();
  }

  #read(connection: ClientRequest, response: IncomingMessage, lost: (why: string) => void): void {
    // An `error` without a listener would end the process. The connection's `close` event follows in every case.
    response.on('error', (error) => lost(error.message));
    if (response.statusCode !== 200) {
      lost(`answered ${response.statusCode}`);
      return;
    }
    const lines = new FeedLineSplitter(this.#deps.settings.feedMaxLineBytes);
    response.on('data', (chunk: Buffer) => {
      try {
        for (const line of lines.push(chunk)) {
          if (this.#connection !== connection) return;
          this.#line(line);
        }
      } catch (error) {
        lost(messageOf(error));
      }
    });
    response.on('end', () => lost('the daemon ended the feed'));
  }

  /** Takes one line of the feed. @throws Error saying why a new connection with a new snapshot is needed. */
  #line(line: string): void {
    const record = parseFeedRecord(line);
    if (record === undefined) throw new Error('a line is not a feed record');
    this.#checkOrder(record);
    this.#store(record);
    const isFirst = this.#lastSeq === undefined;
    this.#lastSeq = record.seq;
    this.#watermark.stored(record.seq);
    if (!isFirst) return;
    this.#attempts = 0;
    this.#sink.up();
  }

  #checkOrder(record: FeedRecord): void {
    if (this.#lastSeq !== undefined) {
      if (record.seq !== this.#lastSeq + 1)
        throw new Error(`record ${record.seq} follows record ${this.#lastSeq}`);
      return;
    }
    if (record.type !== 'snapshot') throw new Error(`the first record is "${record.type}", not a snapshot`);
    if (record.incarnation !== this.#target.incarnation)
      throw new Error(`the socket belongs to incarnation ${record.incarnation}`);
  }

  #store(record: FeedRecord): void {
    try {
      this.#sink.record(record);
    } catch (error) {
      this.#watermark.failed(record.seq, error);
      throw error;
    }
  }

  /** Closes the connection, and connects again after a wait that doubles with every attempt. */
  #drop(why: string): void {
    const connection = this.#connection;
    this.#connection = undefined;
    this.#lastSeq = undefined;
    connection?.destroy();
    this.#retry?.cancel();
    const { feedReconnectMs } = this.#deps.settings;
    const delayMs = feedReconnectMs * Math.min(MAX_BACKOFF_FACTOR, 2 ** this.#attempts);
    this.#attempts += 1;
    this.#log.info({ why, delayMs }, 'feed lost, reconnecting');
    this.#retry = this.#deps.clock.after(delayMs, () => this.#connect());
  }
}
