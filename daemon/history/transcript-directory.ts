// The files of transcripts in their directory: where each is, and what each states of its session. A file that a recording has
// open is left to the recording: the statements here are those of closed files.
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
  /** Created with mode 0700 when the first transcript is begun. */
  readonly dir: string;
  readonly log: Log;
}

/** Sessions are named by the key of their id, see `sessionKey`. Nothing is read or written before the first call. */
export class TranscriptDirectory {
  readonly #options: TranscriptDirectoryOptions;
  /**
   * What every file states, by session. Built when all sessions are first asked for, and kept in step from then on; before
   * that one session costs one look at its file, so a daemon that never lists never builds it.
   */
  #metas: Map<string, TranscriptMeta> | undefined;

  constructor(options: TranscriptDirectoryOptions) {
    this.#options = options;
  }

  /** Path of the session's file, whether or not there is one. */
  pathOf(key: string): string {
    return join(this.#options.dir, transcriptFileName(key));
  }

  /** What the session's file states; undefined when there is no readable file. */
  metaOf(key: string): TranscriptMeta | undefined {
    return this.#metas === undefined ? readMeta(this.pathOf(key), this.#options.log) : this.#metas.get(key);
  }

  /**
   * What all files state.
   * @param areLeftoversRemoved whether the scan of the directory removes temporary files: only where no compaction of this
   * process is writing one.
   */
  metas(areLeftoversRemoved: boolean): ReadonlyMap<string, TranscriptMeta> {
    this.#metas ??= this.#scan(areLeftoversRemoved);
    return this.#metas;
  }

  /** Notes what the file states from now on: its recording was closed, or another file has replaced it. */
  restated(key: string, meta: TranscriptMeta): void {
    this.#metas?.set(key, meta);
  }

  /** Adds a statement to the session's file, or begins the file with it. @throws the system's error. */
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
      // A compaction that was killed has left its temporary file.
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
    // There is no such file.
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
