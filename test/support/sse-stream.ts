// An event stream as it arrives: whole frames in order, with the raw text kept for tests of the framing itself.
import { type ClientRequest, type IncomingHttpHeaders, type IncomingMessage, request } from 'node:http';
import type { EventEnvelope } from '../../daemon/contract/wire.ts';
import { within } from './eventually.ts';
import { placeOf } from './wire-client.ts';

export class Frame {
  /** The frame's text without the blank line. */
  readonly raw: string;
  #envelope: EventEnvelope | undefined;

  constructor(raw: string) {
    this.raw = raw;
  }

  /** Value of the `id:` line. */
  get id(): string | undefined {
    return this.#field('id');
  }

  /** Value of the `event:` line. */
  get event(): string | undefined {
    return this.#field('event');
  }

  /** The `data:` line, parsed when it is first asked for; undefined for comments and the retry hint. */
  get envelope(): EventEnvelope | undefined {
    const data = this.#envelope === undefined ? this.#field('data') : undefined;
    if (data !== undefined) this.#envelope = JSON.parse(data) as EventEnvelope;
    return this.#envelope;
  }

  #field(name: string): string | undefined {
    const line = this.raw.split('\n').find((candidate) => candidate.startsWith(`${name}: `));
    return line?.slice(name.length + 2);
  }
}

/** `ended`: in order; `cut`: the connection was reset or closed inside the answer. */
export type StreamEnd = 'ended' | 'cut';

type Data = Readonly<Record<string, unknown>>;

/** Opens GET /session/:id/events. @throws Error when the answer is not 200. */
export function openStream(
  base: string,
  sessionId: string,
  options: { readonly query?: string; readonly headers?: Readonly<Record<string, string>> } = {},
): Promise<SseStream> {
  const path = `/session/${sessionId}/events${options.query ?? ''}`;
  return new Promise((resolve, reject) => {
    const headers = { connection: 'keep-alive', ...options.headers };
    const req = request({ ...placeOf(base), path, agent: false, headers });
    req.once('error', reject);
    req.once('response', (res) => {
      req.off('error', reject);
      if (res.statusCode === 200) resolve(new SseStream(req, res));
      else reject(new Error(`GET ${path}: ${res.statusCode}`));
      if (res.statusCode !== 200) res.resume();
    });
    req.end();
  });
}

/** The same after an accepted prompt: from the head of the bus before its first frame. */
export function streamFrom(
  base: string,
  sessionId: string,
  { lastEventId, eventEpoch }: { readonly lastEventId: number; readonly eventEpoch: string },
): Promise<SseStream> {
  const headers = { 'last-event-id': String(lastEventId), 'x-qwen-event-epoch': eventEpoch };
  return openStream(base, sessionId, { headers });
}

export class SseStream {
  readonly headers: IncomingHttpHeaders;
  readonly frames: Frame[] = [];
  readonly end: Promise<StreamEnd>;
  readonly #request: ClientRequest;
  readonly #response: IncomingMessage;
  readonly #watchers = new Set<() => void>();
  #rest = '';
  #hasEnded = false;

  constructor(req: ClientRequest, res: IncomingMessage) {
    this.#request = req;
    this.#response = res;
    this.headers = res.headers;
    req.on('error', () => undefined);
    res.setEncoding('utf8').on('data', (text: string) => this.#take(text));
    res.on('error', () => undefined);
    this.end = new Promise((resolve) => {
      res.once('close', () => {
        this.#hasEnded = true;
        for (const look of [...this.#watchers]) look();
        resolve(res.complete ? 'ended' : 'cut');
      });
    });
  }

  /** The text of every frame so far. */
  get raw(): string {
    return this.frames.map(({ raw }) => raw).join('\n\n');
  }

  /** Bytes after the last blank line: empty whenever only whole frames came. */
  get unfinished(): string {
    return this.#rest;
  }

  get envelopes(): EventEnvelope[] {
    return this.frames.flatMap(({ envelope }) => (envelope === undefined ? [] : [envelope]));
  }

  get types(): string[] {
    return this.frames.flatMap(({ event }) => event ?? []);
  }

  /** Ids of the events, in the order of their arrival. */
  get ids(): number[] {
    return this.frames.flatMap(({ id }) => (id === undefined ? [] : [Number(id)]));
  }

  ofType(type: string): EventEnvelope[] {
    return this.frames.flatMap((frame) => (frame.event === type && frame.envelope ? [frame.envelope] : []));
  }

  /** Texts of the agent's chunks, in order. */
  get texts(): string[] {
    return this.ofType('session_update').flatMap(({ data }) => {
      const { update } = data as { update: { sessionUpdate: string; content?: { text?: string } } };
      return update.sessionUpdate === 'agent_message_chunk' ? [update.content?.text ?? ''] : [];
    });
  }

  /** The first frame, past or to come, that matches. @throws Error at the deadline or when the stream ends without it. */
  frame(what: string, matches: (frame: Frame) => boolean, timeoutMs = 60_000): Promise<Frame> {
    const found = new Promise<Frame>((resolve, reject) => {
      // Each frame is looked at once: a reader that falls behind a flood would be evicted for it.
      let seen = 0;
      const look = () => {
        while (seen < this.frames.length) {
          const frame = this.frames[seen++] as Frame;
          if (!matches(frame)) continue;
          this.#watchers.delete(look);
          resolve(frame);
          return;
        }
        if (!this.#hasEnded) return;
        this.#watchers.delete(look);
        reject(new Error(`the stream ended without ${what}, ${this.#lastTypes()}`));
      };
      this.#watchers.add(look);
      look();
    });
    return within(`${what} on the stream`, timeoutMs, found);
  }

  /** The first event of the type whose data matches. */
  async event(type: string, data: (data: Data) => boolean = () => true): Promise<EventEnvelope> {
    const matches = (frame: Frame) => frame.event === type && data(frame.envelope?.data as Data);
    return (await this.frame(type, matches)).envelope as EventEnvelope;
  }

  /** The terminal event of a prompt. */
  async settled(promptId: string): Promise<EventEnvelope> {
    const isTerminal = (frame: Frame) =>
      (frame.event === 'turn_complete' || frame.event === 'turn_error') &&
      (frame.envelope?.data as Data | undefined)?.promptId === promptId;
    return (await this.frame(`the end of prompt ${promptId}`, isTerminal)).envelope as EventEnvelope;
  }

  /** Stops or goes on reading the socket. */
  pause(): void {
    this.#response.pause();
  }

  resume(): void {
    this.#response.resume();
  }

  close(): void {
    this.#request.destroy();
  }

  #lastTypes(): string {
    return `after ${this.frames.length} frames, the last ones ${this.types.slice(-8).join(' ')}`;
  }

  #take(text: string): void {
    const blocks = (this.#rest + text).split('\n\n');
    this.#rest = blocks.pop() ?? '';
    for (const block of blocks) this.frames.push(new Frame(block));
    for (const look of [...this.#watchers]) look();
  }
}
