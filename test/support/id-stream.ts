// A reader of one event stream that keeps only what a flood leaves room for: the ids, and the types that are rare.
import { type ClientRequest, type IncomingMessage, request } from 'node:http';
import { within } from './eventually.ts';

const FRAME_END = Buffer.from('\n\n');
const COMMON = 'session_update';

/** Opens GET /session/:id/events and reads as fast as it can. @throws Error when the answer is not 200. */
export function openIdStream(
  base: string,
  sessionId: string,
  headers: Readonly<Record<string, string>> = {},
): Promise<IdStream> {
  return new Promise((resolve, reject) => {
    const req = request(`${base}/session/${sessionId}/events`, { agent: false, headers });
    req.once('error', reject);
    req.once('response', (res) => {
      req.off('error', reject);
      if (res.statusCode === 200) resolve(new IdStream(req, res));
      else reject(new Error(`events: ${res.statusCode}`));
    });
    req.end();
  });
}

export class IdStream {
  firstId: number | undefined;
  lastId = 0;
  /** Ids that did not follow the one before. */
  readonly gaps: string[] = [];
  /** Types of events other than `session_update`, in order. */
  readonly rareTypes: string[] = [];
  hasEnded = false;
  readonly #request: ClientRequest;
  readonly #watchers = new Set<() => void>();
  #rest: Buffer = Buffer.alloc(0);

  constructor(req: ClientRequest, res: IncomingMessage) {
    this.#request = req;
    req.on('error', () => undefined);
    res.on('error', () => undefined);
    res.on('data', (chunk: Buffer) => this.#take(chunk));
    res.once('close', () => {
      this.hasEnded = true;
      this.#look();
    });
  }

  /** Resolves when that many events of a rare type have come. @throws Error at the deadline or at the stream's end. */
  rare(type: string, count: number, timeoutMs = 60_000): Promise<void> {
    const seen = new Promise<void>((resolve, reject) => {
      const look = () => {
        if (this.rareTypes.filter((candidate) => candidate === type).length >= count) resolve();
        else if (this.hasEnded) reject(new Error(`the stream ended: ${this.rareTypes.slice(-5).join(' ')}`));
        else return;
        this.#watchers.delete(look);
      };
      this.#watchers.add(look);
      look();
    });
    return within(`${count} times ${type}`, timeoutMs, seen);
  }

  close(): void {
    this.#request.destroy();
  }

  #take(chunk: Buffer): void {
    const bytes = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk]);
    let start = 0;
    for (let end = bytes.indexOf(FRAME_END); end !== -1; end = bytes.indexOf(FRAME_END, start)) {
      // The first two lines say all: `id: 17` and `event: turn_complete`.
      this.#frame(bytes.toString('latin1', start, Math.min(end, start + 64)));
      start = end + FRAME_END.length;
    }
    this.#rest = bytes.subarray(start);
    this.#look();
  }

  #frame(head: string): void {
    const [first = '', second = ''] = head.split('\n', 2);
    const hasId = first.startsWith('id: ');
    if (hasId) this.#id(Number(first.slice(4)));
    const line = hasId ? second : first;
    if (line.startsWith('event: ') && line !== `event: ${COMMON}`) this.rareTypes.push(line.slice(7));
  }

  #id(id: number): void {
    if (this.firstId === undefined) this.firstId = id;
    else if (id !== this.lastId + 1) this.gaps.push(`${this.lastId} -> ${id}`);
    this.lastId = id;
  }

  #look(): void {
    for (const look of [...this.#watchers]) look();
  }
}
