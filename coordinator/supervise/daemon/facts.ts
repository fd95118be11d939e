// Collects what one incarnation reports on its feed: for diagnostics, for the health check, and to judge whether it is idle.

import type { FeedAgent, FeedBeat, FeedPrompt, FeedRecord } from '../../../daemon/contract/feed.ts';
import type { IdleFacts } from '../../domain/idle-policy.ts';

/** How long after a demand the daemon counts as opening a session: agents take seconds for that. */
const OPENING_MS = 10_000;
/** Number of beats that are kept: a minute at the default period, which is enough to see memory grow. */
const BEATS_KEPT = 12;

export class DaemonFacts {
  lastBeat: FeedBeat | null = null;
  /** The newest beats, oldest first. */
  lastBeats: readonly FeedBeat[] = [];
  agent: FeedAgent | null = null;
  /** Monotonic time of the last beat; until the first beat, of the construction. */
  lastBeatAtMs: number;
  /** Monotonic times of the last record of a prompt or session, and of the last heartbeat of a registered client. */
  #lastGestureAtMs: number;
  #lastHeartbeatAtMs = Number.NEGATIVE_INFINITY;
  /** Monotonic times of the last demand, and of the last record of a session or prompt, which shows that it was served. */
  #demandedAtMs = Number.NEGATIVE_INFINITY;
  #openedAtMs = Number.NEGATIVE_INFINITY;
  readonly #unsettledPrompts = new Set<string>();
  readonly #sessions = new Set<string>();
  #canLoad: boolean | null = null;

  constructor(nowMs: number) {
    this.lastBeatAtMs = nowMs;
    this.#lastGestureAtMs = nowMs;
  }

  /** The facts for the idle policy. @param nowMs monotonic time. */
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
   * Notes that a request was sent to the daemon at `nowMs` (monotonic): the feed shows its effect only when the agent is done. It
   * does not count as a gesture, because the request may only read.
   */
  demanded(nowMs: number): void {
    this.#demandedAtMs = nowMs;
  }

  /** Updates the facts from a feed record that arrived at `nowMs` (monotonic). */
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

  /** Whether no prompt runs or waits by the feed, and no permission question was open at the last beat. */
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
