// Transcripts in files, one a session, for agents that keep none themselves. The index of all of them is built once, when
// it is first asked for, and kept in step; contents are read from the files whenever they are wanted.
import {
  closeSync,
  fstatSync,
  openSync,
  readdirSync,
  readSync,
  renameSync,
  rmSync,
  statSync,
  writeSync,
} from 'node:fs';
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import type { Clock } from '../contract/clock.ts';
import type { Log } from '../contract/log.ts';
import { sessionKey } from '../contract/wire.ts';
import { AppendFile } from './append-file.ts';
import { compact, newPathOf } from './compaction.ts';
import { withFilesSync } from './file-pair.ts';
import type { History, HistoryRecord, Recording, StoredSession, StoredTranscript } from './history.ts';
import { forEachLine } from './line-reader.ts';
import type { TranscriptSource } from './paging.ts';
import { FileRecording } from './recording.ts';
import {
  isTranscriptFileName,
  metaLine,
  parseLine,
  readEnds,
  type TranscriptMeta,
  transcriptFileName,
} from './transcript-file.ts';
import { TranscriptIndexes } from './transcript-indexes.ts';

const COPY_BYTES = 256 * 1024;

export interface HistoryStoreOptions {
  /** Created with mode 0700 when the first transcript is begun. */
  readonly dir: string;
  readonly clock: Clock;
  readonly log: Log;
  /** A file that outgrows it is compacted to at most half of it. */
  readonly maxBytesPerSession: number;
}

/** Nothing is read or written yet. */
export function createHistoryStore(options: HistoryStoreOptions): History {
  return new FileHistory(options);
}

class FileHistory implements History {
  readonly #o: HistoryStoreOptions;
  readonly #open = new Map<string, FileRecording>();
  readonly #compacting = new Set<string>();
  readonly #indexes: TranscriptIndexes;
  #closed: Map<string, TranscriptMeta> | undefined;

  constructor(options: HistoryStoreOptions) {
    this.#o = options;
    this.#indexes = new TranscriptIndexes(options.clock);
  }

  begin(session: Omit<StoredSession, 'updatedAtMs' | 'isArchived'>, onDegraded: () => void): Recording {
    const key = sessionKey(session.sessionId);
    this.#open.get(key)?.close();
    const { clock, log, maxBytesPerSession } = this.#o;
    const recording = new FileRecording({
      path: this.#pathOf(key),
      session: { ...session, updatedAtMs: clock.nowMs(), isArchived: false },
      clock,
      log,
      maxBytes: maxBytesPerSession,
      onDegraded,
      onOversize: () => this.#compactSoon(key),
      onClosed: (meta) => {
        this.#open.delete(key);
        this.#closed?.set(key, meta);
      },
    });
    this.#open.set(key, recording);
    return recording;
  }

  state(session: StoredSession): void {
    const key = sessionKey(session.sessionId);
    if (this.#open.has(key)) return;
    const known = this.#metaOf(key) ?? { lastId: 0, dropped: { turns: 0, events: 0 } };
    this.#append(key, { ...known, session });
  }

  list(): readonly StoredSession[] {
    const open = [...this.#open].map(([key, recording]) => [key, recording.meta] as const);
    const all = new Map([...this.#index(), ...open]);
    return [...all.values()].map(({ session }) => session).sort((a, b) => b.createdAtMs - a.createdAtMs);
  }

  find(sessionId: string): StoredSession | undefined {
    return this.#metaOf(sessionKey(sessionId))?.session;
  }

  async read(sessionId: string): Promise<StoredTranscript | undefined> {
    const key = sessionKey(sessionId);
    // Everything up to `bytes` is settled in this tick, so that a caller can pair it with the bus's head.
    this.#open.get(key)?.flush();
    const meta = this.#metaOf(key);
    const bytes = sizeOf(this.#pathOf(key));
    if (meta === undefined || bytes === 0) return undefined;
    const records: HistoryRecord[] = [];
    let hasDamage = false;
    await forEachLine(await open(this.#pathOf(key), 'r'), bytes, (line) => {
      const parsed = parseLine(line);
      if (parsed === undefined) hasDamage = true;
      else if ('record' in parsed) records.push(parsed.record);
    });
    const { turns: droppedTurns, events: droppedEvents } = meta.dropped;
    return { session: meta.session, records, isPartial: hasDamage, droppedTurns, droppedEvents };
  }

  async using<T>(sessionId: string, use: (source: TranscriptSource) => Promise<T>): Promise<T | undefined> {
    const key = sessionKey(sessionId);
    this.#open.get(key)?.flush();
    const path = this.#pathOf(key);
    if (this.#metaOf(key) === undefined || sizeOf(path) === 0) return undefined;
    return this.#indexes.using(path, sessionId, use);
  }

  setArchived(sessionId: string, isArchived: boolean): boolean {
    const key = sessionKey(sessionId);
    const meta = this.#metaOf(key);
    if (meta === undefined || meta.session.isArchived === isArchived) return false;
    const session = { ...meta.session, isArchived };
    const live = this.#open.get(key);
    if (live !== undefined) {
      live.restate(session);
      return true;
    }
    this.#append(key, { ...meta, session });
    return true;
  }

  remove(sessionId: string): boolean {
    const key = sessionKey(sessionId);
    if (this.#metaOf(key) === undefined) return false;
    this.#open.get(key)?.close();
    rmSync(this.#pathOf(key), { force: true });
    this.#index().delete(key);
    return true;
  }

  /** Adds a statement to the file of a session that is not live, which may be new. @throws the system's error. */
  #append(key: string, meta: TranscriptMeta): void {
    const file = new AppendFile(this.#pathOf(key));
    try {
      file.append(metaLine(meta));
    } finally {
      file.close();
    }
    this.#closed?.set(key, meta);
  }

  #pathOf(key: string): string {
    return join(this.#o.dir, transcriptFileName(key));
  }

  /** Without the index one session costs one look at its file, so a daemon that never lists never builds it. */
  #metaOf(key: string): TranscriptMeta | undefined {
    const live = this.#open.get(key);
    if (live !== undefined) return live.meta;
    return this.#closed === undefined ? readMeta(this.#pathOf(key), this.#o.log) : this.#closed.get(key);
  }

  #index(): Map<string, TranscriptMeta> {
    this.#closed ??= this.#scan();
    return this.#closed;
  }

  #scan(): Map<string, TranscriptMeta> {
    const found = new Map<string, TranscriptMeta>();
    for (const name of namesIn(this.#o.dir)) {
      // What a compaction left behind that was killed.
      if (name.endsWith('.tmp') && this.#compacting.size === 0) rmSync(join(this.#o.dir, name));
      if (!isTranscriptFileName(name)) continue;
      const meta = readMeta(join(this.#o.dir, name), this.#o.log);
      if (meta !== undefined) found.set(sessionKey(meta.session.sessionId), meta);
    }
    return found;
  }

  #compactSoon(key: string): void {
    if (this.#compacting.has(key)) return;
    this.#compacting.add(key);
    this.#compact(key)
      .catch((error: unknown) => this.#o.log.warn({ err: error }, 'a transcript could not be compacted'))
      .finally(() => this.#compacting.delete(key));
  }

  async #compact(key: string): Promise<void> {
    const path = this.#pathOf(key);
    const meta = this.#metaOf(key);
    const bytes = sizeOf(path);
    const inode = inodeOf(path);
    if (meta === undefined) return;
    const newPath = newPathOf(path);
    try {
      const dropped = await compact(path, bytes, this.#o.maxBytesPerSession / 2, meta);
      // From here to the end in one tick: nothing is appended to the old file meanwhile.
      const recording = this.#open.get(key);
      recording?.flush();
      const current = this.#metaOf(key);
      // Removed meanwhile, or restarted.
      if (current === undefined || inodeOf(path) !== inode) return;
      appendTail(path, bytes, newPath, metaLine({ ...current, dropped }));
      renameSync(newPath, path);
      if (recording === undefined) this.#closed?.set(key, { ...current, dropped });
      else recording.reopen(dropped);
    } finally {
      // What has not come to its place never will.
      rmSync(newPath, { force: true });
    }
  }
}

/** Copies what was written to `source` behind `from`, then `statement`. */
function appendTail(source: string, from: number, target: string, statement: string): void {
  const block = Buffer.allocUnsafe(COPY_BYTES);
  withFilesSync(source, target, (input, output) => {
    for (let at = from; ; ) {
      const count = readSync(input, block, 0, block.length, at);
      if (count === 0) break;
      writeWhole(output, block.subarray(0, count));
      at += count;
    }
    writeWhole(output, Buffer.from(statement));
  });
}

function writeWhole(fd: number, bytes: Buffer): void {
  for (let written = 0; written < bytes.length; )
    written += writeSync(fd, bytes, written, bytes.length - written);
}

function sizeOf(path: string): number {
  return statSync(path, { throwIfNoEntry: false })?.size ?? 0;
}

/** Names the file itself, whatever stands at its path. */
function inodeOf(path: string): number | undefined {
  return statSync(path, { throwIfNoEntry: false })?.ino;
}

function namesIn(dir: string): string[] {
  try {
    return readdirSync(dir);
  } catch {
    // No transcript has been begun yet, or it cannot be read: then nothing can be listed.
    return [];
  }
}

function readMeta(path: string, log: Log): TranscriptMeta | undefined {
  let fd: number;
  try {
    fd = openSync(path, 'r');
  } catch {
    // There is none.
    return undefined;
  }
  try {
    const { size, mtimeMs } = fstatSync(fd);
    const { meta, isClosed } = readEnds(fd, size);
    if (meta === undefined) {
      log.warn({ path }, 'not a transcript: ignored');
      return undefined;
    }
    // A file that was not closed cleanly does not say when it was last written.
    return isClosed ? meta : { ...meta, session: { ...meta.session, updatedAtMs: Math.floor(mtimeMs) } };
  } finally {
    closeSync(fd);
  }
}
