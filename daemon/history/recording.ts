// The recording of one session: collects the events that the session's bus publishes, appends them to the transcript's file at
// each flush, and writes nothing more once a write has failed.
import type { Clock } from '../contract/clock.ts';
import type { Log } from '../contract/log.ts';
import type { EncodedEvent } from '../domain/frame.ts';
import { isOfTranscript, isTerminal } from '../domain/transcript.ts';
import { AppendFile } from './append-file.ts';
import type { Recording, StoredChange, StoredSession } from './history.ts';
import { metaLine, recordLine, type TranscriptMeta } from './transcript-file.ts';

export interface RecordingOptions {
  readonly path: string;
  /** The session as the first line of a new file states it. */
  readonly session: StoredSession;
  readonly clock: Clock;
  readonly log: Log;
  readonly maxBytes: number;
  readonly onDegraded: () => void;
  /** Called at every flush that finds the file larger than `maxBytes`, so until a compacted file has replaced it. */
  readonly onOversize: () => void;
  readonly onClosed: (meta: TranscriptMeta) => void;
}

/** `recording` until a write fails; `degraded` from then on; `closed` after `close`. */
type State = 'recording' | 'degraded' | 'closed';

/** Implements `Recording` on one file. */
export class FileRecording implements Recording {
  readonly keepsEvents: boolean;
  readonly #options: RecordingOptions;
  #file: AppendFile | undefined;
  #state: State = 'recording';
  #meta: Omit<TranscriptMeta, 'lastId'>;
  #lastId = 0;
  #isBlank = true;
  /** Whether an event that belongs to the transcript was noted since the last flush. */
  #hasNews = false;
  #updatedAtMs: number;
  #pending: string[] = [];

  /** Opens the file. If that fails, the recording is degraded from its beginning. */
  constructor(options: RecordingOptions) {
    this.#options = options;
    this.keepsEvents = options.session.isKeptByAgent !== true;
    this.#meta = { session: options.session, dropped: { turns: 0, events: 0 } };
    this.#updatedAtMs = options.session.updatedAtMs;
    this.#trying(() => this.#open());
  }

  get lastId(): number {
    return this.#lastId;
  }

  get isDegraded(): boolean {
    return this.#state === 'degraded';
  }

  get isWhole(): boolean {
    const { turns, events } = this.#meta.dropped;
    return !this.isDegraded && turns + events === 0;
  }

  /** The statement of the session as it is now, of which the newest part may not be written yet. */
  get meta(): TranscriptMeta {
    const { isBlank: _, ...facts } = this.#meta.session;
    const blank = this.#isBlank ? { isBlank: true as const } : {};
    const session = { ...facts, updatedAtMs: this.#updatedAtMs, ...blank };
    return { ...this.#meta, lastId: this.#lastId, session };
  }

  note({ id, type, data, tail }: EncodedEvent): void {
    if (this.#state !== 'recording') return;
    this.#lastId = id;
    if (!isOfTranscript(type, data)) return;
    const wasBlank = this.#isBlank;
    this.#isBlank = false;
    this.#hasNews = true;
    // Ends of turns are recorded even if the agent keeps the transcript: no load replay has them.
    if (this.keepsEvents || isTerminal(type)) this.#pending.push(recordLine(id, tail));
    else if (wasBlank) this.#pending.push(metaLine(this.meta));
  }

  flush(): void {
    if (this.#hasNews) this.#updatedAtMs = this.#options.clock.nowMs();
    this.#hasNews = false;
    if (this.#pending.length === 0) return;
    const text = this.#pending.join('');
    this.#pending = [];
    this.#trying(() => this.#file?.append(text));
    if ((this.#file?.sizeBytes ?? 0) > this.#options.maxBytes) this.#options.onOversize();
  }

  change(change: StoredChange): void {
    this.restate({ ...this.#meta.session, ...change });
  }

  /** Replaces the stated fields of the session, and writes a statement. */
  restate(session: StoredSession): void {
    if (this.#state === 'closed') return;
    this.#meta = { ...this.#meta, session };
    this.#pending.push(metaLine(this.meta));
    this.flush();
  }

  close(): void {
    if (this.#state === 'closed') return;
    // A statement as the last line spares later readers the search backward through the file for an earlier one.
    this.flush();
    if (this.#state === 'recording') this.#pending.push(metaLine(this.meta));
    this.flush();
    this.#state = 'closed';
    this.#file?.close();
    this.#options.onClosed(this.meta);
  }

  /** Continues in the compacted file, which now has the old file's path. @param dropped what the compacted file lacks. */
  reopen(dropped: TranscriptMeta['dropped']): void {
    if (this.#state !== 'recording') return;
    this.#meta = { ...this.#meta, dropped };
    this.#trying(() => {
      this.#file?.close();
      this.#file = new AppendFile(this.#options.path);
    });
  }

  #open(): void {
    this.#file = new AppendFile(this.#options.path);
    const { meta } = this.#file.ends;
    if (meta === undefined) {
      this.#file.append(metaLine(this.meta));
      return;
    }
    const { isKeptByAgent, ...session } = meta.session;
    this.#meta = { ...meta, session: this.keepsEvents ? session : { ...session, isKeptByAgent: true } };
    this.#lastId = meta.lastId;
    this.#isBlank = meta.session.isBlank === true;
    // Since the file was written, the keeper of the transcript has changed from the agent to the daemon or back.
    if (this.keepsEvents === (isKeptByAgent === true)) this.#file.append(metaLine(this.meta));
  }

  /** Runs `write`; when it throws, the recording is degraded for good. Does nothing when it is degraded already. */
  #trying(write: () => void): void {
    if (this.#state === 'degraded') return;
    try {
      write();
    } catch (error) {
      this.#state = 'degraded';
      this.#pending = [];
      this.#file?.close();
      const { sessionId } = this.#meta.session;
      this.#options.log.warn({ err: error, sessionId }, 'the transcript cannot be written');
      this.#options.onDegraded();
    }
  }
}
