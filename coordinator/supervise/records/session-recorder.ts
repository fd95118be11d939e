// Writes what daemons report on their feeds into the store, and keeps the index of sessions in step with the store. Sessions are
// written at once; heartbeats wait for a batch (heartbeat-buffer.ts).
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
import type { Store } from '../../store/store.ts';
import type { SessionIndex, SessionLocation } from '../fleet.ts';
import type { SuperviseSettings } from '../settings.ts';
import { HeartbeatBuffer } from './heartbeat-buffer.ts';
import { StoredSessionIndex } from './stored-session-index.ts';

type Body<T extends FeedBody['type']> = Extract<FeedBody, { type: T }>;

/** The daemon that sent a feed record or an answer. */
export interface Source {
  readonly workspaceId: string;
  readonly incarnation: string;
}

export interface SessionRecorder extends SessionIndex {
  /** Stores a feed record. @throws the store's ApiError 507 when it refuses; the index is then unchanged. */
  apply(source: Source, record: FeedRecord): void;
  /**
   * Stores a session that a daemon's answer showed while its feed was down. If the daemon has ended meanwhile, the session is
   * stored as dormant or closed.
   * @throws as `apply`.
   */
  recordSession(source: Source, session: FeedSession): void;
  /** Updates the index with the new states of sessions that the store moved itself, at the end of their daemon. */
  moved(
    workspaceId: string,
    sessions: readonly { readonly sessionId: string; readonly state: SessionState }[],
  ): void;
  /** Moves a session that no daemon has to `state`, in the store and then in the index. @throws as `apply`. */
  rest(sessionId: string, state: Exclude<SessionState, 'live'>, reason: string): void;
  /** As `HeartbeatBuffer.flush`. */
  flushSeen(): Promise<void>;
}

export interface SessionRecorderDeps {
  readonly store: Store;
  readonly clock: Clock;
  readonly log: Log;
  readonly settings: Pick<SuperviseSettings, 'seenBatchRows'>;
}

/** Makes the recorder. Its index begins with the sessions of the store that are not closed. */
export function createSessionRecorder(deps: SessionRecorderDeps): SessionRecorder {
  return new StoreRecorder(deps);
}

class StoreRecorder implements SessionRecorder {
  readonly #store: Store;
  readonly #nowMs: () => number;
  readonly #index: StoredSessionIndex;
  readonly #heartbeats: HeartbeatBuffer;
  /** Whether the agent of each incarnation can load sessions, as its feed reported last. */
  readonly #canLoad = new Map<string, boolean>();

  constructor({ store, clock, log, settings }: SessionRecorderDeps) {
    this.#store = store;
    this.#nowMs = () => clock.nowMs();
    this.#index = new StoredSessionIndex(store);
    this.#heartbeats = new HeartbeatBuffer({ store, log, batchRows: settings.seenBatchRows });
  }

  find(sessionId: string): SessionLocation | undefined {
    return this.#index.find(sessionId);
  }

  ownerOf(sessionId: string): string | undefined {
    return this.#index.ownerOf(sessionId);
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
        this.#heartbeats.note(record.seen);
        break;
      case 'agent':
        this.#agent(source, record);
        break;
      case 'beat':
        // A beat is kept in memory only, in the facts of its daemon (supervise/daemon/facts.ts).
        break;
    }
  }

  recordSession(source: Source, session: FeedSession): void {
    const state = this.#store.sessions.record(source.workspaceId, source.incarnation, session);
    this.#index.locate(session.sessionId, source.workspaceId, state);
  }

  moved(workspaceId: string, sessions: Parameters<SessionRecorder['moved']>[1]): void {
    for (const { sessionId, state } of sessions) this.#index.locate(sessionId, workspaceId, state);
  }

  rest(sessionId: string, state: Exclude<SessionState, 'live'>, reason: string): void {
    const location = this.find(sessionId);
    if (location === undefined) return;
    this.#store.sessions.rest(sessionKey(sessionId), state, this.#nowMs(), reason);
    this.#index.locate(sessionId, location.workspaceId, state);
  }

  flushSeen(): Promise<void> {
    return this.#heartbeats.flush();
  }

  /**
   * Makes the store agree with a snapshot of the feed: stores its sessions, and ends the sessions that were live in this
   * incarnation and are missing from the snapshot.
   */
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
    for (const [id, state] of states) this.#index.locate(id, source.workspaceId, state);
  }

  /** Stores the prompts of the snapshot. A prompt that the snapshot lacks settled while the feed was down, outcome unknown. */
  #reconcilePrompts({ sessions, prompts, beat }: Body<'snapshot'>): void {
    const present = new Set(prompts.map(({ promptId }) => promptId));
    for (const { sessionId } of sessions)
      for (const { promptId } of this.#store.prompts.unsettled(sessionId))
        if (!present.has(promptId))
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
    // A daemon that was adopted while it had no agent reported `canLoad` only to an earlier coordinator: its row has the value.
    const canLoad = this.#canLoad.get(incarnation) ?? this.#store.daemons.find(incarnation)?.canLoad === 1;
    const state = nextState('live', { type: 'ended', reason, canLoad });
    if (state === undefined || state === 'live') return;
    this.#store.sessions.rest(sessionId, state, atMs, reason);
    this.#index.locate(sessionId, workspaceId, state);
  }

  /** Stores a prompt's state. If its daemon shut down, the prompt stays unsettled: the session's restore reports it as lost. */
  #prompt(prompt: FeedPrompt): void {
    if (prompt.state !== 'failed' || prompt.outcome !== 'daemon_shutdown') this.#store.prompts.record(prompt);
  }

  #agent(source: Source, { agent, exit }: Body<'agent'>): void {
    this.#noteAgent(source, agent);
    if (exit === undefined) return;
    const { workspaceId, incarnation } = source;
    this.#store.events.append({ kind: 'agent_exited', workspaceId, incarnation, detail: { ...exit } });
  }

  /** Stores whether the agent can load sessions; keeps that at the agent's end, because the next agent is of the same kind. */
  #noteAgent({ incarnation }: Source, agent: FeedAgent | null): void {
    if (agent === null || this.#canLoad.get(incarnation) === agent.canLoad) return;
    this.#store.daemons.setCanLoad(incarnation, agent.canLoad);
    this.#canLoad.set(incarnation, agent.canLoad);
  }
}
