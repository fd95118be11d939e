// Writes what daemons tell into the store, and keeps the index of live sessions in step with it.
// Session rows are written at once; heartbeats are coalesced and flushed in batches.
import { setImmediate as nextTurn } from 'node:timers/promises';
import type { FeedBody, FeedRecord, FeedSession } from '../../daemon/contract/feed.ts';
import type { Log } from '../../daemon/contract/log.ts';
import { sessionKey } from '../../daemon/contract/wire.ts';
import type { SeenEntry, Store } from '../store/store.ts';
import type { SessionIndex } from './fleet.ts';
import type { SuperviseSettings } from './settings.ts';

type Body<T extends FeedBody['type']> = Extract<FeedBody, { type: T }>;

/** The incarnation that a record comes from. */
export interface Source {
  readonly workspaceId: string;
  readonly incarnation: string;
}

export interface Recorder extends SessionIndex {
  /** @throws the store's ApiError 507 when the record could not be stored; the index is then unchanged. */
  apply(source: Source, record: FeedRecord): void;
  /** Stores a session that an answer showed while the feed was down. @throws as `apply`. */
  recordSession(source: Source, session: FeedSession): void;
  /** Takes sessions out of the index that the store has closed. */
  forget(sessionIds: readonly string[]): void;
  /** Writes the heartbeats that have come together, in batches with a yield between. A call during a flush joins it. */
  flushSeen(): Promise<void>;
}

export interface RecorderDeps {
  readonly store: Store;
  readonly log: Log;
  readonly settings: Pick<SuperviseSettings, 'seenBatchRows'>;
}

/** Reads the live sessions of the store for its index. */
export function createRecorder(deps: RecorderDeps): Recorder {
  return new StoreRecorder(deps);
}

class StoreRecorder implements Recorder {
  readonly #store: Store;
  readonly #log: Log;
  readonly #batchRows: number;
  readonly #workspaceBySession = new Map<string, string>();
  #seen = new Map<string, SeenEntry>();
  #flush: Promise<void> | undefined;

  constructor({ store, log, settings }: RecorderDeps) {
    this.#store = store;
    this.#log = log;
    this.#batchRows = settings.seenBatchRows;
    for (const row of store.sessions.live())
      this.#workspaceBySession.set(sessionKey(row.sessionId), row.workspaceId);
  }

  workspaceOf(sessionId: string): string | undefined {
    return this.#workspaceBySession.get(sessionKey(sessionId));
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
        this.#ended(record);
        break;
      case 'prompt':
        this.#store.prompts.record(record.prompt);
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
    this.#store.sessions.record(source.workspaceId, source.incarnation, session);
    this.#workspaceBySession.set(sessionKey(session.sessionId), source.workspaceId);
  }

  forget(sessionIds: readonly string[]): void {
    for (const sessionId of sessionIds) this.#workspaceBySession.delete(sessionKey(sessionId));
  }

  flushSeen(): Promise<void> {
    this.#flush ??= this.#writeSeen().finally(() => {
      this.#flush = undefined;
    });
    return this.#flush;
  }

  /** Makes the store agree with a snapshot: what lives is recorded, what lived in this incarnation and is missing is closed. */
  #reconcile(source: Source, snapshot: Body<'snapshot'>): void {
    const alive = new Set(snapshot.sessions.map(({ sessionId }) => sessionKey(sessionId)));
    const endOf = new Map(snapshot.ended.map((ended) => [sessionKey(ended.sessionId), ended]));
    const missing = this.#store.sessions
      .live(source.workspaceId)
      .filter((row) => row.incarnation === source.incarnation && !alive.has(sessionKey(row.sessionId)));
    this.#store.transaction(() => {
      for (const session of snapshot.sessions)
        this.#store.sessions.record(source.workspaceId, source.incarnation, session);
      for (const prompt of snapshot.prompts) this.#store.prompts.record(prompt);
      for (const { sessionId } of missing) {
        const end = endOf.get(sessionKey(sessionId));
        this.#store.sessions.close(sessionId, end?.atMs ?? snapshot.beat.atMs, end?.reason ?? 'unknown_end');
      }
    });
    for (const id of alive) this.#workspaceBySession.set(id, source.workspaceId);
    this.forget(missing.map(({ sessionId }) => sessionId));
  }

  #ended({ ended }: Body<'session_ended'>): void {
    this.#store.sessions.close(ended.sessionId, ended.atMs, ended.reason);
    this.forget([ended.sessionId]);
  }

  #agent({ workspaceId, incarnation }: Source, { exit }: Body<'agent'>): void {
    if (exit === undefined) return;
    this.#store.events.append({ kind: 'agent_exited', workspaceId, incarnation, detail: { ...exit } });
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
