// What one incarnation last reported of itself: for diagnostics, for liveness, and to know whether a turn is under way.

import type { FeedAgent, FeedBeat, FeedPrompt, FeedRecord } from '../../../daemon/contract/feed.ts';
import type { IdleFacts } from '../../domain/idle-policy.ts';

/** How long after a demand its session may still be being opened: agents take seconds for that. */
const OPENING_MS = 10_000;
/** Beats that are kept. A minute at the default period, which is enough to see memory grow. */
const BEATS_KEPT = 12;

export class DaemonFacts {
  lastBeat: FeedBeat | null = null;
  /** The newest beats, oldest first. */
  lastBeats: readonly FeedBeat[] = [];
  agent: FeedAgent | null = null;
  /** Monotonic time of the last beat; before the first one, of the moment when beats became due. */
  lastBeatAtMs: number;
  /** Monotonic times of the last prompt step or create, and of the last heartbeat of a registered client. */
  #lastGestureAtMs: number;
  #lastHeartbeatAtMs = Number.NEGATIVE_INFINITY;
  /** Monotonic times of the last demand, and of the last record of a session or prompt that a demand had led to. */
  #demandedAtMs = Number.NEGATIVE_INFINITY;
  #openedAtMs = Number.NEGATIVE_INFINITY;
  readonly #unsettledPrompts = new Set<string>();
  readonly #sessions = new Set<string>();
  #canLoad: boolean | null = null;

  constructor(nowMs: number) {
    this.lastBeatAtMs = nowMs;
    this.#lastGestureAtMs = nowMs;
  }

  /** What the idle policy judges, at the monotonic time `nowMs`. */
  idleFacts(nowMs: number, isPinned: boolean): IdleFacts {
    const beat = this.lastBeat;
    return {
      sessions: this.#sessions.size,
      prompts: this.#unsettledPrompts.size,
      openPermissions: beat?.pendingPermissions ?? 0,
      backgroundSessions: beat?.heldSessions ?? 0,
      isOpening: this.#demandedAtMs > this.#openedAtMs && nowMs - this.#demandedAtMs < OPENING_MS,
      subscribers: beat?.subscribers ?? 0,
      sinceGestureMs: nowMs - this.#lastGestureAtMs,
      sinceHeartbeatMs: nowMs - this.#lastHeartbeatAtMs,
      canLoad: this.#canLoad,
      isPinned,
    };
  }

  /**
   * A request was sent to the daemon at `nowMs` (monotonic). What a client wants shows in the feed only when the agent has done
   * it. A request that only reads is no gesture, so this is no gesture either.
   */
  demanded(nowMs: number): void {
    this.#demandedAtMs = nowMs;
  }

  /** Takes a feed record that came at `nowMs` (monotonic). */
  take(record: FeedRecord, nowMs: number): void {
    if (record.type === 'snapshot') {
      this.#sessions.clear();
      for (const { sessionId } of record.sessions) this.#sessions.add(sessionId);
      this.#noteAgent(record.agent);
      this.#unsettledPrompts.clear();
      for (const prompt of record.prompts) this.#prompt(prompt);
    }
    if (record.type === 'snapshot' || record.type === 'beat') {
      this.lastBeat = record.beat;
      this.lastBeats = [...this.lastBeats, record.beat].slice(-BEATS_KEPT);
      this.lastBeatAtMs = nowMs;
    }
    if (record.type === 'agent') this.#noteAgent(record.agent);
    if (record.type === 'session_ended') this.#sessions.delete(record.ended.sessionId);
    if (record.type === 'seen' && record.seen.some(({ clientId }) => clientId !== null))
      this.#lastHeartbeatAtMs = nowMs;
    if (record.type === 'prompt' || record.type === 'session') {
      this.#lastGestureAtMs = nowMs;
      this.#openedAtMs = nowMs;
    }
    if (record.type === 'session') this.#sessions.add(record.session.sessionId);
    if (record.type === 'prompt') this.#prompt(record.prompt);
  }

  /** No prompt runs or waits, and no permission was open at the last beat. */
  get isQuietOnFeed(): boolean {
    return this.#unsettledPrompts.size === 0 && (this.lastBeat?.pendingPermissions ?? 0) === 0;
  }

  #noteAgent(agent: FeedAgent | null): void {
    this.agent = agent;
    if (agent !== null) this.#canLoad = agent.canLoad;
  }

  #prompt({ promptId, state }: FeedPrompt): void {
    if (state === 'queued' || state === 'running') this.#unsettledPrompts.add(promptId);
    else this.#unsettledPrompts.delete(promptId);
  }
}
