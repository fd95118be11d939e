// Collects heartbeats of clients, keeps the newest of each client, and writes them into the store in batches.
import { setImmediate as nextTurn } from 'node:timers/promises';
import type { Log } from '../../../daemon/contract/log.ts';
import type { SeenEntry, Store } from '../../store/store.ts';

export interface HeartbeatBufferDeps {
  readonly store: Pick<Store, 'heartbeats'>;
  readonly log: Log;
  /** Most heartbeats that one transaction writes. */
  readonly batchRows: number;
}

export class HeartbeatBuffer {
  readonly #deps: HeartbeatBufferDeps;
  /** Heartbeats that are not written yet, by session and client. */
  #unwritten = new Map<string, SeenEntry>();
  #flush: Promise<void> | undefined;

  constructor(deps: HeartbeatBufferDeps) {
    this.#deps = deps;
  }

  /** Keeps these heartbeats for the next flush: of each client and session the newest. */
  note(entries: readonly SeenEntry[]): void {
    for (const entry of entries) {
      const key = `${entry.sessionId}\0${entry.clientId ?? ''}`;
      const known = this.#unwritten.get(key);
      if (known === undefined || known.atMs < entry.atMs) this.#unwritten.set(key, entry);
    }
  }

  /**
   * Writes the kept heartbeats in batches, with a turn of the event loop between two batches. A call during a flush joins that
   * flush. Never rejects: heartbeats that the store refuses are kept for the next call.
   */
  flush(): Promise<void> {
    this.#flush ??= this.#write().finally(() => {
      this.#flush = undefined;
    });
    return this.#flush;
  }

  async #write(): Promise<void> {
    const { store, log, batchRows } = this.#deps;
    // In the order of the keys, so that the rows of a batch are neighbours in the table's pages.
    const entries = [...this.#unwritten].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, entry]) => entry);
    this.#unwritten = new Map();
    for (let from = 0; from < entries.length; from += batchRows) {
      if (from > 0) await nextTurn();
      try {
        store.heartbeats.flush(entries.slice(from, from + batchRows), batchRows);
      } catch (error) {
        log.warn({ err: error, rows: entries.length - from }, 'heartbeats could not be stored yet');
        this.note(entries.slice(from));
        return;
      }
    }
  }
}
