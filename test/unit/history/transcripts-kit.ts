// Transcripts in a scratch directory, and events as a bus would hand them over.
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createLog } from '../../../daemon/contract/log.ts';
import type { History, Recording } from '../../../daemon/history/history.ts';
import { createHistoryStore } from '../../../daemon/history/store.ts';
import { ManualClock } from '../../support/manual-clock.ts';

export class TranscriptsKit {
  readonly clock = new ManualClock();
  degraded = 0;
  readonly #maxBytes: number;
  #lastId = 0;
  #scratch: string | undefined;

  constructor(maxBytes = 64 * 1024 * 1024) {
    this.#maxBytes = maxBytes;
  }

  /** The sessions of the daemon; there from the first use on. */
  get dir(): string {
    this.#scratch ??= mkdtempSync(join(tmpdir(), 'qh-'));
    return join(this.#scratch, 'sessions');
  }

  /** A store as a daemon has it after its start. */
  store(): History {
    return createHistoryStore({
      dir: this.dir,
      clock: this.clock,
      log: createLog('test', 'silent'),
      maxBytesPerSession: this.#maxBytes,
    });
  }

  begin(store: History, sessionId = 's-1', extras: Record<string, string> = {}): Recording {
    const createdAtMs = this.clock.nowMs();
    return store.begin({ sessionId, workspaceCwd: '/ws', createdAtMs, ...extras }, () => {
      this.degraded += 1;
    });
  }

  note(recording: Recording, type: string, data: unknown, promptId = 'p-1'): void {
    this.#lastId += 1;
    const meta = { serverTimestamp: this.clock.nowMs() };
    const tail = JSON.stringify({ v: 1, type, data, promptId, _meta: meta }).slice(1);
    recording.note({ id: this.#lastId, type, data, tail });
  }

  update(recording: Recording, kind: string, text: string, promptId?: string): void {
    const update = { sessionUpdate: kind, content: { type: 'text', text } };
    this.note(recording, 'session_update', { sessionId: 's-1', update }, promptId);
  }

  /** A whole turn: question, `chunks` chunks of answer, end. */
  turn(recording: Recording, number: number, chunks = 3, size = 10): void {
    const promptId = `p-${number}`;
    this.update(recording, 'user_message_chunk', `question ${number}`, promptId);
    for (let i = 0; i < chunks; i++)
      this.update(recording, 'agent_message_chunk', `${i}${'x'.repeat(size)}`, promptId);
    this.note(recording, 'turn_complete', { sessionId: 's-1', stopReason: 'end_turn', promptId }, promptId);
    recording.flush();
  }

  get hasFiles(): boolean {
    return existsSync(this.dir);
  }

  get files(): string[] {
    return readdirSync(this.dir).map((name) => join(this.dir, name));
  }

  get text(): string {
    return readFileSync(this.files[0] as string, 'utf8');
  }

  set text(text: string) {
    writeFileSync(this.files[0] as string, text);
  }

  remove(): void {
    if (this.#scratch !== undefined) rmSync(this.#scratch, { recursive: true, force: true });
    this.#scratch = undefined;
  }
}
