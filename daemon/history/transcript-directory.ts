// The directory of transcript files: the path of each file, and its newest statement. Only for files that no recording has
// open: of an open file the recording knows the newest statement.
import { closeSync, fstatSync, openSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import type { Log } from '../contract/log.ts';
import { sessionKey } from '../contract/wire.ts';
import { AppendFile } from './append-file.ts';
import {
  isTranscriptFileName,
  metaLine,
  readEnds,
  type TranscriptMeta,
  transcriptFileName,
} from './transcript-file.ts';

export interface TranscriptDirectoryOptions {
  /** Directory of the transcript files; created with mode 0700 when the first transcript is begun. */
  readonly dir: string;
  readonly log: Log;
}

/** Every `key` is a session id as `sessionKey` gives it. Nothing is read or written before the first call of a method. */
export class TranscriptDirectory {
  readonly #options: TranscriptDirectoryOptions;
  /**
   * The newest statement of every file, by key. Built by the first call of `metas`, and kept up to date from then on. Before
   * that, `metaOf` reads the file of the one session, so a daemon that never lists sessions never reads all files.
   */
  #metas: Map<string, TranscriptMeta> | undefined;

  constructor(options: TranscriptDirectoryOptions) {
    this.#options = options;
  }

  /** Path of the session's file, whether or not there is one. */
  pathOf(key: string): string {
    return join(this.#options.dir, transcriptFileName(key));
  }

  /** The newest statement in the session's file; undefined when there is no readable file. */
  metaOf(key: string): TranscriptMeta | undefined {
    return this.#metas === undefined ? readMeta(this.pathOf(key), this.#options.log) : this.#metas.get(key);
  }

  /**
   * The newest statement of every file, by key.
   * @param areLeftoversRemoved whether the scan of the directory removes temporary files: only to be set while no compaction of
   * this process writes one.
   */
  metas(areLeftoversRemoved: boolean): ReadonlyMap<string, TranscriptMeta> {
    this.#metas ??= this.#scan(areLeftoversRemoved);
    return this.#metas;
  }

  /** Notes the file's newest statement, after its recording was closed or a compacted file has replaced it. */
  restated(key: string, meta: TranscriptMeta): void {
    this.#metas?.set(key, meta);
  }

  /** Appends a statement to the session's file, which is created if there is none. @throws the system's error. */
  append(key: string, meta: TranscriptMeta): void {
    const file = new AppendFile(this.pathOf(key));
    try {
      file.append(metaLine(meta));
    } finally {
      file.close();
    }
    this.restated(key, meta);
  }

  /** Removes the session's file, if there is one. @throws the system's error. */
  remove(key: string): void {
    rmSync(this.pathOf(key), { force: true });
    this.#metas?.delete(key);
  }

  #scan(areLeftoversRemoved: boolean): Map<string, TranscriptMeta> {
    const { dir, log } = this.#options;
    const found = new Map<string, TranscriptMeta>();
    for (const name of namesIn(dir)) {
      // A daemon that was killed during a compaction has left temporary files.
      if (name.endsWith('.tmp') && areLeftoversRemoved) rmSync(join(dir, name));
      if (!isTranscriptFileName(name)) continue;
      const meta = readMeta(join(dir, name), log);
      if (meta !== undefined) found.set(sessionKey(meta.session.sessionId), meta);
    }
    return found;
  }
}

function namesIn(dir: string): string[] {
  try {
    return readdirSync(dir);
  } catch {
    // No transcript has been begun yet, or the directory cannot be read: then nothing can be listed.
    return [];
  }
}

function readMeta(path: string, log: Log): TranscriptMeta | undefined {
  let fd: number;
  try {
    fd = openSync(path, 'r');
  } catch {
    // There is no file at `path`: nothing is stored of the session.
    return undefined;
  }
  try {
    const { size, mtimeMs } = fstatSync(fd);
    const { meta, isClosed } = readEnds(fd, size);
    if (meta === undefined) {
      log.warn({ path }, 'not a transcript: ignored');
      return undefined;
    }
    // In a file that was not closed cleanly the statement is older than the last write, so the file's own time is taken.
    return isClosed ? meta : { ...meta, session: { ...meta.session, updatedAtMs: Math.floor(mtimeMs) } };
  } finally {
    closeSync(fd);
  }
}
