// The open end of one transcript file: collects what the bus publishes, hands it to the system once per batch, and goes
// quiet for good, once, when a write fails.
import type { Clock } from '../contract/clock.ts';
import type { Log } from '../contract/log.ts';
import type { EncodedEvent } from '../domain/frame.ts';
import { isOfTranscript, isTerminal } from '../domain/transcript.ts';
import { AppendFile } from './append-file.ts';
import type { Recording, StoredChange, StoredSession } from './history.ts';
import { metaLine, recordLine, type TranscriptMeta } from './transcript-file.ts';

export interface RecordingOptions {
  readonly path: string;
  /** What the header says where the file is new. */
  readonly session: StoredSession;
  readonly clock: Clock;
  readonly log: Log;
  readonly maxBytes: number;
  readonly onDegraded: () => void;
  /** The file has outgrown its bound. Called at every flush until it has been replaced. */
  readonly onOversize: () => void;
  readonly onClosed: (meta: TranscriptMeta) => void;
}

/** `recording`, then for good `degraded` (a write failed), then `closed`. */
type State = 'recording' | 'degraded' | 'closed';

export class FileRecording implements Recording {
  readonly keepsEvents: boolean;
  readonly #o: RecordingOptions;
  #file: AppendFile | undefined;
  #state: State = 'recording';
  #meta: Omit<TranscriptMeta, 'lastId'>;
  #lastId = 0;
  #isBlank = true;
  /** Something was said since the last flush. */
  #hasNews = false;
  #updatedAtMs: number;
  #pending: string[] = [];

  /** Opens the file. Where that fails the recording is degraded from its beginning. */
  constructor(options: RecordingOptions) {
    this.#o = options;
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

  /** What the transcript states now. */
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
    // How prompts ended is kept in any case: no agent tells it again.
    if (this.keepsEvents || isTerminal(type)) this.#pending.push(recordLine(id, tail));
    else if (wasBlank) this.#pending.push(metaLine(this.meta));
  }

  flush(): void {
    if (this.#hasNews) this.#updatedAtMs = this.#o.clock.nowMs();
    this.#hasNews = false;
    if (this.#pending.length === 0) return;
    const text = this.#pending.join('');
    this.#pending = [];
    this.#trying(() => this.#file?.append(text));
    if ((this.#file?.sizeBytes ?? 0) > this.#o.maxBytes) this.#o.onOversize();
  }

  change(change: StoredChange): void {
    this.restate({ ...this.#meta.session, ...change });
  }

  /** Replaces what is stated of the session, and says so in the file. */
  restate(session: StoredSession): void {
    if (this.#state === 'closed') return;
    this.#meta = { ...this.#meta, session };
    this.#pending.push(metaLine(this.meta));
    this.flush();
  }

  close(): void {
    if (this.#state === 'closed') return;
    // The last statement tells the next reader everything without a walk through the file.
    this.flush();
    if (this.#state === 'recording') this.#pending.push(metaLine(this.meta));
    this.flush();
    this.#state = 'closed';
    this.#file?.close();
    this.#o.onClosed(this.meta);
  }

  /** Goes on in the file that has been put in the old one's place. */
  reopen(dropped: TranscriptMeta['dropped']): void {
    if (this.#state !== 'recording') return;
    this.#meta = { ...this.#meta, dropped };
    this.#trying(() => {
      this.#file?.close();
      this.#file = new AppendFile(this.#o.path);
    });
  }

  #open(): void {
    this.#file = new AppendFile(this.#o.path);
    const { meta } = this.#file.ends;
    if (meta === undefined) {
      this.#file.append(metaLine(this.meta));
      return;
    }
    const { isKeptByAgent, ...session } = meta.session;
    this.#meta = { ...meta, session: this.keepsEvents ? session : { ...session, isKeptByAgent: true } };
    this.#lastId = meta.lastId;
    this.#isBlank = meta.session.isBlank === true;
    // The agent has begun to keep transcripts, or has ceased to.
    if (this.keepsEvents === (isKeptByAgent === true)) this.#file.append(metaLine(this.meta));
  }

  #trying(write: () => void): void {
    if (this.#state === 'degraded') return;
    try {
      write();
    } catch (error) {
      this.#state = 'degraded';
      this.#pending = [];
      this.#file?.close();
      const { sessionId } = this.#meta.session;
      this.#o.log.warn({ err: error, sessionId }, 'the transcript cannot be written');
      this.#o.onDegraded();
    }
  }
}
