// The history store: one transcript file for each session; for a live session a recording appends to the file. Transcripts
// are read from their files at each request, not kept in memory.
import { open } from 'node:fs/promises';
import type { Clock } from '../contract/clock.ts';
import type { Log } from '../contract/log.ts';
import { sessionKey } from '../contract/wire.ts';
import { sizeOf, swapForCompacted } from './compaction-swap.ts';
import type {
  BegunSession,
  History,
  HistoryRecord,
  Recording,
  StoredSession,
  StoredTranscript,
} from './history.ts';
import { forEachLine } from './line-reader.ts';
import type { TranscriptSource } from './paging.ts';
import { FileRecording } from './recording.ts';
import { TranscriptDirectory } from './transcript-directory.ts';
import { parseLine, type TranscriptMeta } from './transcript-file.ts';
import { TranscriptIndexes } from './transcript-indexes.ts';

export interface HistoryStoreOptions {
  /** Directory of the transcript files; created with mode 0700 when the first transcript is begun. */
  readonly dir: string;
  readonly clock: Clock;
  readonly log: Log;
  /** A transcript's file larger than this is compacted to at most half of this. */
  readonly maxBytesPerSession: number;
}

/** Makes the store. Nothing is read or written yet. */
export function createHistoryStore(options: HistoryStoreOptions): History {
  return new FileHistory(options);
}

/** Implements `History` with files in one directory. */
class FileHistory implements History {
  readonly #options: HistoryStoreOptions;
  readonly #recordings = new Map<string, FileRecording>();
  readonly #compacting = new Set<string>();
  readonly #directory: TranscriptDirectory;
  readonly #indexes: TranscriptIndexes;

  constructor(options: HistoryStoreOptions) {
    this.#options = options;
    this.#directory = new TranscriptDirectory(options);
    this.#indexes = new TranscriptIndexes(options.clock);
  }

  begin(session: BegunSession, onDegraded: () => void): Recording {
    const key = sessionKey(session.sessionId);
    this.#recordings.get(key)?.close();
    const { clock, log, maxBytesPerSession } = this.#options;
    const recording = new FileRecording({
      path: this.#directory.pathOf(key),
      session: { ...session, updatedAtMs: clock.nowMs(), isArchived: false },
      clock,
      log,
      maxBytes: maxBytesPerSession,
      onDegraded,
      onOversize: () => this.#compactSoon(key),
      onClosed: (meta) => {
        this.#recordings.delete(key);
        this.#directory.restated(key, meta);
      },
    });
    this.#recordings.set(key, recording);
    return recording;
  }

  state(session: StoredSession): void {
    const key = sessionKey(session.sessionId);
    if (this.#recordings.has(key)) return;
    const known = this.#metaOf(key) ?? { lastId: 0, dropped: { turns: 0, events: 0 } };
    this.#directory.append(key, { ...known, session });
  }

  list(): readonly StoredSession[] {
    const recorded = [...this.#recordings].map(([key, recording]) => [key, recording.meta] as const);
    const all = new Map([...this.#closedMetas(), ...recorded]);
    return [...all.values()].map(({ session }) => session).sort((a, b) => b.createdAtMs - a.createdAtMs);
  }

  find(sessionId: string): StoredSession | undefined {
    return this.#metaOf(sessionKey(sessionId))?.session;
  }

  async read(sessionId: string): Promise<StoredTranscript | undefined> {
    const key = sessionKey(sessionId);
    const path = this.#directory.pathOf(key);
    // What is read ends at the size in this tick, so that a caller can pair the transcript with the bus's head.
    this.#recordings.get(key)?.flush();
    const meta = this.#metaOf(key);
    const bytes = sizeOf(path);
    if (meta === undefined || bytes === 0) return undefined;
    const records: HistoryRecord[] = [];
    let hasDamage = false;
    await forEachLine(await open(path, 'r'), bytes, (line) => {
      const parsed = parseLine(line);
      if (parsed === undefined) hasDamage = true;
      else if ('record' in parsed) records.push(parsed.record);
    });
    const { turns: droppedTurns, events: droppedEvents } = meta.dropped;
    return { session: meta.session, records, isPartial: hasDamage, droppedTurns, droppedEvents };
  }

  async using<T>(sessionId: string, use: (source: TranscriptSource) => Promise<T>): Promise<T | undefined> {
    const key = sessionKey(sessionId);
    this.#recordings.get(key)?.flush();
    const path = this.#directory.pathOf(key);
    if (this.#metaOf(key) === undefined || sizeOf(path) === 0) return undefined;
    return this.#indexes.using(path, sessionId, use);
  }

  setArchived(sessionId: string, isArchived: boolean): boolean {
    const key = sessionKey(sessionId);
    const meta = this.#metaOf(key);
    if (meta === undefined || meta.session.isArchived === isArchived) return false;
    const session = { ...meta.session, isArchived };
    const recording = this.#recordings.get(key);
    if (recording === undefined) this.#directory.append(key, { ...meta, session });
    else recording.restate(session);
    return true;
  }

  remove(sessionId: string): boolean {
    const key = sessionKey(sessionId);
    if (this.#metaOf(key) === undefined) return false;
    this.#recordings.get(key)?.close();
    this.#directory.remove(key);
    return true;
  }

  /** The newest statement of a session, even if its recording has not written it yet; undefined when nothing is stored. */
  #metaOf(key: string): TranscriptMeta | undefined {
    const recording = this.#recordings.get(key);
    return recording === undefined ? this.#directory.metaOf(key) : recording.meta;
  }

  #closedMetas(): ReadonlyMap<string, TranscriptMeta> {
    return this.#directory.metas(this.#compacting.size === 0);
  }

  #compactSoon(key: string): void {
    if (this.#compacting.has(key)) return;
    this.#compacting.add(key);
    this.#compact(key)
      .catch((error: unknown) =>
        this.#options.log.warn({ err: error }, 'a transcript could not be compacted'),
      )
      .finally(() => this.#compacting.delete(key));
  }

  async #compact(key: string): Promise<void> {
    const meta = this.#metaOf(key);
    if (meta === undefined) return;
    await swapForCompacted({
      path: this.#directory.pathOf(key),
      meta,
      targetBytes: this.#options.maxBytesPerSession / 2,
      settle: () => {
        this.#recordings.get(key)?.flush();
        return this.#metaOf(key);
      },
      swapped: (current) => {
        const recording = this.#recordings.get(key);
        if (recording === undefined) this.#directory.restated(key, current);
        else recording.reopen(current.dropped);
      },
    });
  }
}
