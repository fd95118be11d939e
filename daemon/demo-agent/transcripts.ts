// What was said in each session of the demo agent: one append-only JSONL file per session, or memory without a directory.
import { appendFileSync, existsSync, mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { SessionUpdate } from '@agentclientprotocol/sdk';

export class DemoTranscripts {
  readonly #dir: string | undefined;
  readonly #inMemory = new Map<string, SessionUpdate[]>();

  /** Creates `dir` when it is missing. @param dir undefined: transcripts are kept in memory. */
  constructor(dir: string | undefined) {
    this.#dir = dir;
    if (dir !== undefined) mkdirSync(dir, { recursive: true, mode: 0o700 });
  }

  /** Begins a session's transcript, so that the session can be loaded before anything was said in it. */
  open(sessionId: string): void {
    if (this.#dir === undefined) this.#inMemory.set(sessionId, this.#inMemory.get(sessionId) ?? []);
    else appendFileSync(this.#path(this.#dir, sessionId), '', { mode: 0o600 });
  }

  append(sessionId: string, update: SessionUpdate): void {
    if (this.#dir === undefined) this.#inMemory.get(sessionId)?.push(update);
    else appendFileSync(this.#path(this.#dir, sessionId), `${JSON.stringify(update)}\n`, { mode: 0o600 });
  }

  /** Everything that was said, oldest first; undefined for a session that was never opened. */
  read(sessionId: string): readonly SessionUpdate[] | undefined {
    if (this.#dir === undefined) return this.#inMemory.get(sessionId);
    const path = this.#path(this.#dir, sessionId);
    return existsSync(path) ? readFileSync(path, 'utf8').split('\n').flatMap(parseUpdate) : undefined;
  }

  #path(dir: string, sessionId: string): string {
    // The id is the client's choice: encoded, it cannot name another directory.
    return join(dir, `${encodeURIComponent(sessionId)}.jsonl`);
  }
}

function parseUpdate(line: string): SessionUpdate[] {
  try {
    return [JSON.parse(line) as SessionUpdate];
  } catch {
    // The empty end of the file, or a line that a kill has cut.
    return [];
  }
}
