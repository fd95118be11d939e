// Writes what daemons tell into the store, and keeps the index of live sessions in step with it.
// Session rows are written at once; heartbeats are coalesced and flushed in batches.
import { setImmediate as nextTurn } from 'node:timers/promises';
import type { Clock } from '../../../daemon/contract/clock.ts';
import type {
  FeedAgent,
  FeedBody,
  FeedEnded,
  FeedPrompt,
  FeedRecord,
  FeedSession,
} from '../../../daemon/contract/feed.ts';
import type { Log } from '../../../daemon/contract/log.ts';
import { sessionKey } from '../../../daemon/contract/wire.ts';
import { nextState, type SessionState } from '../../domain/session.ts';
import type { SeenEntry, Store } from '../../store/store.ts';
import type { SessionIndex, SessionLocation } from '../fleet.ts';
import type { SuperviseSettings } from '../settings.ts';

type Body<T extends FeedBody['type']> = Extract<FeedBody, { type: T }>;

/** The incarnation that a record comes from. */
export interface Source {
  readonly workspaceId: string;
  readonly incarnation: string;
}

export interface SessionRecorder extends SessionIndex {
  /** @throws the store's ApiError 507 when the record could not be stored; the index is then unchanged. */
  apply(source: Source, record: FeedRecord): void;
  /**
   * Stores a session that an answer showed while the feed was down. Where the daemon is known to have ended it is at rest then.
   * @throws as `apply`.
   */
  recordSession(source: Source, session: FeedSession): void;
  /** The store has moved these sessions on. */
  moved(
    workspaceId: string,
    sessions: readonly { readonly sessionId: string; readonly state: SessionState }[],
  ): void;
  /** Takes a session that no daemon has to a state of rest, in the store first. @throws as `apply`. */
  rest(sessionId: string, state: Exclude<SessionState, 'live'>, reason: string): void;
  /** Writes the heartbeats that have come together, in batches with a yield between. A call during a flush joins it. */
  flushSeen(): Promise<void>;
}

export interface SessionRecorderDeps {
  readonly store: Store;
  readonly clock: Clock;
  readonly log: Log;
  readonly settings: Pick<SuperviseSettings, 'seenBatchRows'>;
}

/** Reads the live sessions of the store for its index. */
export function createSessionRecorder(deps: SessionRecorderDeps): SessionRecorder {
  return new StoreRecorder(deps);
}

class StoreRecorder implements SessionRecorder {
  readonly #store: Store;
  readonly #nowMs: () => number;
  readonly #log: Log;
  readonly #batchRows: number;
  /** Sessions that are not closed. */
  readonly #places = new Map<string, SessionLocation>();
  /** Whether the agent of an incarnation can load sessions; what was told last. */
  readonly #canLoad = new Map<string, boolean>();
  #seen = new Map<string, SeenEntry>();
  #flush: Promise<void> | undefined;

  constructor({ store, clock, log, settings }: SessionRecorderDeps) {
    this.#store = store;
    this.#nowMs = () => clock.nowMs();
    this.#log = log;
    this.#batchRows = settings.seenBatchRows;
    for (const { sessionId, workspaceId, state } of store.sessions.open())
      this.#place(sessionId, workspaceId, state);
  }

  find(sessionId: string): SessionLocation | undefined {
    return this.#places.get(sessionKey(sessionId));
  }

  ownerOf(sessionId: string): string | undefined {
    const key = sessionKey(sessionId);
    return this.#places.get(key)?.workspaceId ?? this.#store.sessions.get(key)?.workspaceId;
  }

  apply(source: Source, record: FeedRecord): void {
    switch (record.type) {
      case 'snapshot':
        this.#reconcile(source, record);
        break;
      case 'session':
        this.recordSession(source, record.session);
        break;
      case 'session_ended':
        this.#ended(source, record.ended);
        break;
      case 'shelved':
        this.#store.sessions.shelve(record.shelved);
        break;
      case 'head':
        this.#store.sessions.setHead(record.sessionId, record.head);
        break;
      case 'prompt':
        this.#prompt(record.prompt);
        break;
      case 'seen':
        this.#note(record.seen);
        break;
      case 'agent':
        this.#agent(source, record);
        break;
      case 'beat':
        // Kept in memory only, as daemon-facts.ts has it.
        break;
    }
  }

  recordSession(source: Source, session: FeedSession): void {
    const state = this.#store.sessions.record(source.workspaceId, source.incarnation, session);
    this.#place(session.sessionId, source.workspaceId, state);
  }

  moved(workspaceId: string, sessions: Parameters<SessionRecorder['moved']>[1]): void {
    for (const { sessionId, state } of sessions) this.#place(sessionId, workspaceId, state);
  }

  rest(sessionId: string, state: Exclude<SessionState, 'live'>, reason: string): void {
    const place = this.find(sessionId);
    if (place === undefined) return;
    this.#store.sessions.rest(sessionKey(sessionId), state, this.#nowMs(), reason);
    this.#place(sessionId, place.workspaceId, state);
  }

  flushSeen(): Promise<void> {
    this.#flush ??= this.#writeSeen().finally(() => {
      this.#flush = undefined;
    });
    return this.#flush;
  }

  /** Makes the store agree with a snapshot: what lives is recorded, what lived in this incarnation and is missing has ended. */
  #reconcile(source: Source, snapshot: Body<'snapshot'>): void {
    this.#noteAgent(source, snapshot.agent);
    const alive = new Set(snapshot.sessions.map(({ sessionId }) => sessionKey(sessionId)));
    const endOf = new Map(snapshot.ended.map((ended) => [sessionKey(ended.sessionId), ended]));
    const missing = this.#store.sessions
      .live(source.workspaceId)
      .filter((row) => row.incarnation === source.incarnation && !alive.has(sessionKey(row.sessionId)));
    const states = new Map<string, SessionState>();
    this.#store.transaction(() => {
      for (const session of snapshot.sessions)
        states.set(
          session.sessionId,
          this.#store.sessions.record(source.workspaceId, source.incarnation, session),
        );
      this.#reconcilePrompts(snapshot);
      for (const { sessionId } of missing) {
        const unknown = { sessionId, reason: 'unknown_end', atMs: snapshot.beat.atMs };
        this.#ended(source, endOf.get(sessionKey(sessionId)) ?? unknown);
      }
    });
    for (const [id, state] of states) this.#place(id, source.workspaceId, state);
  }

  /** A prompt that the snapshot does not hold any more has settled while nobody listened: how, nobody knows. */
  #reconcilePrompts({ sessions, prompts, beat }: Body<'snapshot'>): void {
    const held = new Set(prompts.map(({ promptId }) => promptId));
    for (const { sessionId } of sessions)
      for (const { promptId } of this.#store.prompts.unsettled(sessionId))
        if (!held.has(promptId))
          this.#store.prompts.record({
            promptId,
            sessionId,
            state: 'failed',
            atMs: beat.atMs,
            outcome: 'unknown',
          });
    for (const prompt of prompts) this.#store.prompts.record(prompt);
  }

  #ended({ workspaceId, incarnation }: Source, { sessionId, reason, atMs }: FeedEnded): void {
    // A daemon that was adopted while it had no agent has told only the coordinator before this one.
    const canLoad = this.#canLoad.get(incarnation) ?? this.#store.daemons.find(incarnation)?.canLoad === 1;
    const state = nextState('live', { type: 'ended', reason, canLoad });
    if (state === undefined || state === 'live') return;
    this.#store.sessions.rest(sessionId, state, atMs, reason);
    this.#place(sessionId, workspaceId, state);
  }

  /** A prompt that ends because its daemon ends is not settled: the session's restore reports it. */
  #prompt(prompt: FeedPrompt): void {
    if (prompt.state !== 'failed' || prompt.outcome !== 'daemon_shutdown') this.#store.prompts.record(prompt);
  }

  #agent(source: Source, { agent, exit }: Body<'agent'>): void {
    this.#noteAgent(source, agent);
    if (exit === undefined) return;
    const { workspaceId, incarnation } = source;
    this.#store.events.append({ kind: 'agent_exited', workspaceId, incarnation, detail: { ...exit } });
  }

  /** An agent that is gone takes nothing back: the next one is of the same kind. */
  #noteAgent({ incarnation }: Source, agent: FeedAgent | null): void {
    if (agent === null || this.#canLoad.get(incarnation) === agent.canLoad) return;
    this.#store.daemons.setCanLoad(incarnation, agent.canLoad);
    this.#canLoad.set(incarnation, agent.canLoad);
  }

  #place(sessionId: string, workspaceId: string, state: SessionState): void {
    const key = sessionKey(sessionId);
    if (state === 'closed') this.#places.delete(key);
    else this.#places.set(key, { workspaceId, state });
  }

  #note(entries: readonly SeenEntry[]): void {
    for (const entry of entries) {
      const key = `${entry.sessionId}\0${entry.clientId ?? ''}`;
      const known = this.#seen.get(key);
      if (known === undefined || known.atMs < entry.atMs) this.#seen.set(key, entry);
    }
  }

  async #writeSeen(): Promise<void> {
    // Key order, so that neighbours of a batch are neighbours in the table's pages.
    const entries = [...this.#seen].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, entry]) => entry);
    this.#seen = new Map();
    for (let from = 0; from < entries.length; from += this.#batchRows) {
      if (from > 0) await nextTurn();
      const batch = entries.slice(from, from + this.#batchRows);
      try {
        this.#store.heartbeats.flush(batch, this.#batchRows);
      } catch (error) {
        this.#log.warn({ err: error, rows: entries.length - from }, 'heartbeats could not be stored yet');
        this.#note(entries.slice(from));
        return;
      }
    }
  }
}
