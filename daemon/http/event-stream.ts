// One client's event stream (SSE): reads the session's ring by a cursor, and writes no faster than the client's socket takes
// the bytes. The stream ends with its session or its client's connection, or by eviction. A slow client is evicted only when
// the ring has dropped events that the client still lacks, or when no write completes within `writerIdleTimeoutMs`.
import type { ServerResponse } from 'node:http';
import type { Clock, Timer } from '../contract/clock.ts';
import type { Limits } from '../contract/limits.ts';
import type { ReplayPlan } from '../domain/cursor.ts';
import { HEARTBEAT_COMMENT, syntheticFrame } from '../domain/frame.ts';
import type { Bus, Reader } from '../events/bus.ts';

/** Most bytes of events that are written to the socket at once, so that hardly any wait for a slow reader outside the ring. */
const CHUNK_BYTES = 64 * 1024;
/** Share of a backlog bound (`maxQueued`, `subscriberQueueBytes`) from which a slow reader is warned. */
const WARN_SHARE = 0.75;
/** Share of the backlog bounds below which a reader that was warned can be warned again. */
const REARM_SHARE = 0.375;
/** Share of the ring by which a blocked reader must lag before the daemon pauses reading the agent's output for that reader. */
const PAUSE_SHARE = 0.5;

export interface EventStreamOptions {
  readonly res: ServerResponse;
  readonly bus: Bus;
  readonly clock: Clock;
  readonly limits: Limits;
  /** Bound of the reader's backlog, in frames; only for the slow-client warning. */
  readonly maxQueued: number;
  /** The client's cursor, and the plan of the replay from there; undefined: the stream begins with the next live event. */
  readonly replay: { readonly cursor: number; readonly plan: ReplayPlan } | undefined;
  /** Makes the data of the `session_snapshot` frame; undefined when the client did not ask for that frame. */
  readonly snapshot: (() => Record<string, unknown>) | undefined;
  /** Called once, when the stream has ended or was evicted. */
  readonly onEnd: () => void;
}

type Phase = 'replay' | 'live' | 'ended';

export class EventStream implements Reader {
  readonly #options: EventStreamOptions;
  #phase: Phase;
  #cursor: number;
  /** Last event id of the replay: `#liveFrom`, or a lower id if `replayBudgetBytes` does not suffice. */
  readonly #replayUntil: number;
  /** The ring's head when the stream was made. Live events start after this id, even if the replay ended sooner. */
  readonly #liveFrom: number;
  #isBlocked = false;
  #isEnding = false;
  #hasClaimedPause = false;
  #isWarned = false;
  #lastWriteMs: number;
  #timers: Timer[] = [];

  constructor(options: EventStreamOptions) {
    this.#options = options;
    const { ring } = options.bus;
    const from = options.replay?.plan.from ?? ring.head;
    this.#phase = options.replay === undefined ? 'live' : 'replay';
    this.#cursor = from;
    this.#liveFrom = ring.head;
    this.#replayUntil = ring.reachWithin(from, options.limits.replayBudgetBytes);
    this.#lastWriteMs = options.clock.monotonicMs();
  }

  /** Writes the frames that precede all events, and attaches the stream to the bus. The caller has written status and headers. */
  start(): void {
    const { res, limits, clock, replay, bus } = this.#options;
    res.on('drain', () => this.#drained());
    res.on('close', () => this.#finish());
    this.#write(Buffer.from(`retry: ${limits.retryHintMs}\n\n`));
    if (replay?.plan.resync !== undefined)
      this.#writeResync(replay.plan.resync, replay.cursor, bus.ring.oldest);
    if (replay === undefined) this.#writeSnapshot();
    this.#timers.push(clock.every(limits.heartbeatCommentMs, () => this.#heartbeat()));
    if (limits.writerIdleTimeoutMs > 0)
      this.#timers.push(clock.every(Math.max(10, limits.writerIdleTimeoutMs / 4), () => this.#checkIdle()));
    bus.attach(this);
  }

  /** Writes the events that the reader lacks, as far as the socket takes them. The bus calls `pump` after it has published. */
  pump(): void {
    while (this.#phase !== 'ended' && !this.#isBlocked) {
      if (this.#phase === 'replay' && this.#cursor >= this.#replayUntil) this.#endReplay();
      else if (!this.#writeChunk()) break;
    }
    if (this.#phase === 'ended') return;
    const isLastEvent = this.#options.bus.hasEnded || this.#isEnding;
    if (isLastEvent && this.#cursor >= this.#options.bus.ring.head && !this.#isBlocked) this.#close();
    else this.#judgeBacklog();
  }

  /** Ends the stream after the newest event. Writes no frame about the end, because the client is to connect again. */
  endAtHead(): void {
    this.#isEnding = true;
    this.pump();
  }

  /** Whether the socket takes no more and the reader lags by over PAUSE_SHARE of the ring; true once until the socket drains. */
  claimsPause(): boolean {
    if (!this.#isBlocked || this.#hasClaimedPause || this.#phase === 'ended') return false;
    const { ring } = this.#options.bus;
    const { eventRingSize, eventRingBytes } = this.#options.limits;
    const isFarBehind =
      ring.head - this.#cursor > eventRingSize * PAUSE_SHARE ||
      ring.bytesAfter(this.#cursor) > eventRingBytes * PAUSE_SHARE;
    this.#hasClaimedPause = isFarBehind;
    return isFarBehind;
  }

  /** Writes the next chunk of events. @returns false when there is no event to write now, or the reader was evicted. */
  #writeChunk(): boolean {
    const { ring } = this.#options.bus;
    if (ring.hasOvertaken(this.#cursor)) {
      this.#evictOvertaken();
      return false;
    }
    const until = this.#phase === 'replay' ? this.#replayUntil : ring.head;
    const chunk = ring.chunkAfter(this.#cursor, CHUNK_BYTES, until);
    if (chunk === undefined) return false;
    this.#cursor = chunk.to;
    this.#write(chunk.bytes);
    return true;
  }

  #write(bytes: Buffer): void {
    const isTaken = this.#options.res.write(bytes, () => {
      this.#lastWriteMs = this.#options.clock.monotonicMs();
    });
    if (!isTaken) this.#isBlocked = true;
  }

  #drained(): void {
    this.#isBlocked = false;
    this.#hasClaimedPause = false;
    this.pump();
    this.#options.bus.readerDrained(this);
  }

  #writeSynthetic(type: string, data: Record<string, unknown>): void {
    this.#write(syntheticFrame(type, data, this.#options.clock.nowMs()));
  }

  #writeResync(
    resync: { readonly reason: string; readonly detail?: string },
    lastDeliveredId: number,
    earliestAvailableId: number,
  ): void {
    this.#writeSynthetic('state_resync_required', { ...resync, lastDeliveredId, earliestAvailableId });
  }

  #writeSnapshot(): void {
    if (this.#options.snapshot !== undefined)
      this.#writeSynthetic('session_snapshot', this.#options.snapshot());
  }

  #endReplay(): void {
    const from = this.#options.replay?.plan.from ?? 0;
    const last = this.#replayUntil;
    if (last < this.#liveFrom) this.#writeResync({ reason: 'replay_budget_exceeded' }, last, last + 1);
    const replayedCount = last - from;
    // Older clients read the same id as `lastEventId`.
    const named = replayedCount > 0 ? { lastReplayedEventId: last, lastEventId: last } : {};
    this.#writeSynthetic('replay_complete', { replayedCount, ...named });
    this.#writeSnapshot();
    this.#phase = 'live';
    this.#cursor = Math.max(this.#cursor, this.#liveFrom);
  }

  /**
   * Warns a blocked reader that is far behind, and evicts a blocked reader that the ring has overtaken. Called only after an
   * attempt to write, because between two writes a fast agent is far ahead of every reader.
   */
  #judgeBacklog(): void {
    const { bus, limits, maxQueued } = this.#options;
    if (!this.#isBlocked) {
      this.#isWarned = false;
      return;
    }
    if (bus.ring.hasOvertaken(this.#cursor)) {
      this.#evictOvertaken();
      return;
    }
    const base = Math.max(this.#cursor, this.#liveFrom);
    const frames = bus.ring.head - base;
    const bytes = bus.ring.bytesAfter(base);
    const level = Math.max(frames / maxQueued, bytes / limits.subscriberQueueBytes);
    if (level < REARM_SHARE) this.#isWarned = false;
    if (level < WARN_SHARE || this.#isWarned) return;
    this.#isWarned = true;
    this.#writeSynthetic('slow_client_warning', {
      queueSize: frames,
      maxQueued,
      lastEventId: bus.ring.head,
      queuedBytes: bytes,
      maxQueuedBytes: limits.subscriberQueueBytes,
      threshold: warningThreshold(frames / maxQueued, bytes / limits.subscriberQueueBytes),
    });
  }

  #evictOvertaken(): void {
    const { bus, limits, maxQueued } = this.#options;
    const isByCount = bus.ring.size >= limits.eventRingSize;
    this.#evict({
      reason: isByCount ? 'queue_overflow' : 'queue_bytes_overflow',
      droppedAfter: this.#cursor,
      queueSize: bus.ring.head - this.#cursor,
      maxQueued,
      queuedBytes: bus.ring.bytes,
      maxQueuedBytes: limits.subscriberQueueBytes,
    });
  }

  #checkIdle(): void {
    const idleForMs = Math.round(this.#options.clock.monotonicMs() - this.#lastWriteMs);
    const timeoutMs = this.#options.limits.writerIdleTimeoutMs;
    if (idleForMs < timeoutMs || this.#phase === 'ended') return;
    this.#evict({ reason: 'writer_idle_timeout', errorKind: 'writer_idle_timeout', idleForMs, timeoutMs });
  }

  /** Ends the stream with a `client_evicted` frame. A client that has not read it within `evictedDrainMs` is cut off. */
  #evict(data: Record<string, unknown>): void {
    const { res, clock, limits } = this.#options;
    res.end(syntheticFrame('client_evicted', data, clock.nowMs()));
    const cut = clock.after(limits.evictedDrainMs, () => res.destroy());
    res.once('close', () => cut.cancel());
    this.#finish();
  }

  #heartbeat(): void {
    if (!this.#isBlocked && this.#phase !== 'ended') this.#write(HEARTBEAT_COMMENT);
  }

  #close(): void {
    this.#options.res.end();
    this.#finish();
  }

  #finish(): void {
    if (this.#phase === 'ended') return;
    this.#phase = 'ended';
    for (const timer of this.#timers) timer.cancel();
    this.#options.bus.detach(this);
    this.#options.onEnd();
  }
}

function warningThreshold(frames: number, bytes: number): 'frames' | 'bytes' | 'frames_and_bytes' {
  if (frames >= WARN_SHARE && bytes >= WARN_SHARE) return 'frames_and_bytes';
  return frames >= WARN_SHARE ? 'frames' : 'bytes';
}
