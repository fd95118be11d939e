// The transcripts of the demo agent's sessions: one append-only JSONL file per session, or in memory when no directory is given.
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

  /** Begins a session's transcript, so that the session can be loaded even if nothing was said in it. Keeps an existing one. */
  open(sessionId: string): void {
    if (this.#dir === undefined) this.#inMemory.set(sessionId, this.#inMemory.get(sessionId) ?? []);
    else appendFileSync(this.#path(this.#dir, sessionId), '', { mode: 0o600 });
  }

  append(sessionId: string, update: SessionUpdate): void {
    if (this.#dir === undefined) this.#inMemory.get(sessionId)?.push(update);
    else appendFileSync(this.#path(this.#dir, sessionId), `${JSON.stringify(update)}\n`, { mode: 0o600 });
  }

  /** The updates of a session's transcript, oldest first; undefined for a session whose transcript was never begun. */
  read(sessionId: string): readonly SessionUpdate[] | undefined {
    if (this.#dir === undefined) return this.#inMemory.get(sessionId);
    const path = this.#path(this.#dir, sessionId);
    return existsSync(path) ? readFileSync(path, 'utf8').split('\n').flatMap(parseUpdate) : undefined;
  }

  #path(dir: string, sessionId: string): string {
    // A client may choose the session id: encoded, the id cannot name a file in another directory.
    return join(dir, `${encodeURIComponent(sessionId)}.jsonl`);
  }
}

function parseUpdate(line: string): SessionUpdate[] {
  try {
    return [JSON.parse(line) as SessionUpdate];
  } catch {
    // The empty text after the last line break, or a line that a kill has cut.
    return [];
  }
}
