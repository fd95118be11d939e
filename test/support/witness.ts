// A client that lives through faults: it keeps one session busy, follows its events with its own cursor, and notes whatever
// no client may see. It knows nothing of the faults; where it is refused it comes again.
import { openStream, type SseStream } from './sse-stream.ts';
import { call, clientHeader } from './wire-client.ts';

export interface WitnessWorld {
  /** Of the coordinator that runs now; undefined while there is none. */
  readonly baseUrl: string | undefined;
  readonly random: () => number;
  /** What the store says of a session; undefined where it knows none. */
  readonly endOf: (sessionId: string) => { readonly state: string; readonly reason: string } | undefined;
}

/** A session that was over while its client wanted to go on in it. */
export interface Replaced {
  readonly sessionId: string;
  /** Why, as the store has it. */
  readonly reason: string;
}

export interface AcknowledgedPrompt {
  readonly promptId: string;
  readonly sessionId: string;
  readonly sentAtMs: number;
  /** `turn_complete`, or `turn_error <code>`: every end that was streamed. */
  readonly ends: string[];
  endedAtMs: number | undefined;
}

/** What is known of one session: the cursor, and how far each bus was read. */
interface Seat {
  readonly sessionId: string;
  readonly clientId: string;
  lastId: number;
  epoch: string | undefined;
}

const PAUSE_MS = 20;
/** Longest wait of a prompt for its end before the next one is sent. */
const TURN_PATIENCE_MS = 15_000;
/** How long a record of a session's end may take from the daemon to the store. */
const CLOSING_MS = 15_000;
/** Answers that say "come again". */
export const LATER: ReadonlySet<number> = new Set([0, 429, 502, 503, 504]);

const sleep = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

export class Witness {
  readonly name: string;
  readonly workspace: string;
  readonly prompts: AcknowledgedPrompt[] = [];
  /** Every session that was answered to it. */
  readonly sessions: string[] = [];
  readonly replaced: Replaced[] = [];
  /** What it saw and nobody may see. */
  readonly violations: string[] = [];
  readonly #world: WitnessWorld;
  readonly #stopped = new AbortController();
  #seat: Seat | undefined;
  #stream: SseStream | undefined;
  #running: Promise<unknown> = Promise.resolve();
  #opening: Promise<void> | undefined;
  /** Its session was last seen asleep: only asking again wakes it. */
  #isAsleep = false;
  #isListening = false;
  #isResting = false;
  #asking: Promise<void> = Promise.resolve();

  constructor(name: string, world: WitnessWorld, workspace: string) {
    this.name = name;
    this.#world = world;
    this.workspace = workspace;
  }

  get sessionId(): string | undefined {
    return this.#seat?.sessionId;
  }

  get clientId(): string | undefined {
    return this.#seat?.clientId;
  }

  /** Goes on by itself until `stop`: one turn after the other. `text` chooses what is asked. */
  start(text: () => string): void {
    this.listen();
    this.#asking = (async () => {
      while (!this.#isResting && !this.#hasStopped) await this.turn(text());
    })();
  }

  /** Asks nothing more, and waits for the end of what it has asked. */
  async rest(): Promise<void> {
    this.#isResting = true;
    await this.#asking;
  }

  /** Follows events only. */
  listen(): void {
    if (this.#isListening) return;
    this.#isListening = true;
    this.#running = this.#follow();
  }

  /** Ends the loops; what was asked stays noted. */
  async stop(): Promise<void> {
    this.#stopped.abort();
    this.#stream?.close();
    await this.#asking;
    await this.#running;
  }

  /** A session, for as long as the answer takes. @returns its id; undefined when it was stopped first. */
  async open(): Promise<string | undefined> {
    while (!this.#hasStopped && this.#seat === undefined) {
      this.#opening ??= this.#openOnce().finally(() => {
        this.#opening = undefined;
      });
      await this.#opening;
    }
    return this.#seat?.sessionId;
  }

  /** Sends one prompt and waits for its end, for a while. @returns it when it was acknowledged. */
  async turn(text: string): Promise<AcknowledgedPrompt | undefined> {
    const prompt = await this.send(text);
    const deadline = performance.now() + TURN_PATIENCE_MS;
    while (prompt !== undefined && prompt.endedAtMs === undefined && !this.#hasStopped) {
      // The session it was asked in may be over without a word about the prompt; the store knows then.
      if (performance.now() > deadline || prompt.sessionId !== this.#seat?.sessionId || this.#isAsleep) break;
      await sleep(5);
    }
    return prompt;
  }

  /** Sends one prompt, once: an answer that is lost is not asked for again. */
  async send(text: string): Promise<AcknowledgedPrompt | undefined> {
    const sessionId = await this.open();
    if (sessionId === undefined) return undefined;
    const sentAtMs = performance.now();
    const answer = await this.#ask('POST', `/session/${sessionId}/prompt`, {
      prompt: [{ type: 'text', text }],
    });
    if (answer.status === 202) {
      this.#isAsleep = false;
      const { promptId } = answer.json as { promptId: string };
      const prompt = {
        promptId,
        sessionId,
        sentAtMs,
        ends: this.#early.get(promptId) ?? [],
        endedAtMs: undefined,
      };
      const noted: AcknowledgedPrompt = prompt;
      if (noted.ends.length > 0) noted.endedAtMs = performance.now();
      this.prompts.push(noted);
      return noted;
    }
    if (answer.status === 404) await this.#leave(sessionId, `prompt ${answer.text}`);
    else await this.#again('POST prompt', answer);
    return undefined;
  }

  /** Whether it has completed a turn that it asked for after that moment. */
  hasCompletedSince(atMs: number): AcknowledgedPrompt | undefined {
    return this.prompts.find(({ sentAtMs, ends }) => sentAtMs >= atMs && ends.includes('turn_complete'));
  }

  /** Ends of prompts whose 202 was not read yet: events may be faster than the answer. */
  readonly #early = new Map<string, string[]>();

  async #openOnce(): Promise<void> {
    const json = { cwd: this.workspace, sessionScope: 'thread' };
    const answer = await this.#ask('POST', '/session', json);
    if (answer.status === 200) {
      const { sessionId, clientId } = answer.json as { sessionId: string; clientId: string };
      this.sessions.push(sessionId);
      this.#seat = { sessionId, clientId, lastId: 0, epoch: undefined };
    } else await this.#again('POST /session', answer);
  }

  get #hasStopped(): boolean {
    return this.#stopped.signal.aborted;
  }

  async #ask(method: string, path: string, json?: unknown) {
    const base = this.#world.baseUrl;
    if (base === undefined) return { status: 0, json: {}, text: 'no coordinator' };
    const headers = clientHeader(this.#seat?.clientId);
    const signal = AbortSignal.any([this.#stopped.signal, AbortSignal.timeout(30_000)]);
    const options = { headers, signal, ...(json === undefined ? {} : { json }) };
    return call(base, method, path, options).catch((error: Error) => ({
      status: 0,
      json: {},
      text: error.message,
    }));
  }

  async #again(what: string, answer: { readonly status: number; readonly text: string }): Promise<void> {
    if (!LATER.has(answer.status) && !this.#hasStopped)
      this.#violation(`${what}: ${answer.status} ${answer.text}`);
    await sleep(PAUSE_MS * (1 + this.#world.random()));
  }

  async #follow(): Promise<void> {
    while (!this.#hasStopped) {
      const seat = this.#seat;
      if (seat === undefined) await sleep(PAUSE_MS);
      else await this.#followOnce(seat);
    }
  }

  async #followOnce(seat: Seat): Promise<void> {
    const base = this.#world.baseUrl;
    const headers = {
      'last-event-id': String(seat.lastId),
      ...(seat.epoch === undefined ? {} : { 'x-qwen-event-epoch': seat.epoch }),
    };
    const stream =
      base === undefined
        ? undefined
        : await openStream(base, seat.sessionId, { headers }).catch(() => undefined);
    if (stream === undefined) {
      await this.#lookAfter(seat);
      return;
    }
    this.#stream = stream;
    // A request that waited for its session may be answered when nobody sits there any more.
    if (this.#hasStopped || this.#seat !== seat) stream.close();
    await this.#read(stream, seat);
    await sleep(PAUSE_MS);
  }

  /** No stream: is there still a session? */
  async #lookAfter(seat: Seat): Promise<void> {
    const answer = await this.#ask('POST', `/session/${seat.sessionId}/heartbeat`, {});
    const isAsleep = (answer.json as { dormant?: boolean }).dormant === true;
    if (answer.status === 404 && !isAsleep) await this.#leave(seat.sessionId, `heartbeat ${answer.text}`);
    this.#isAsleep = isAsleep;
    await sleep(PAUSE_MS);
  }

  /** Told that there is no such session: then the store has closed it, at the latest when the daemon's record has arrived. */
  async #leave(sessionId: string, told: string): Promise<void> {
    if (this.#seat?.sessionId !== sessionId) return;
    const deadline = performance.now() + CLOSING_MS;
    const endOf = () => this.#world.endOf(sessionId);
    while (endOf()?.state !== 'closed' && performance.now() < deadline) await sleep(PAUSE_MS);
    const end = endOf();
    if (end?.state !== 'closed')
      this.#violation(`session ${sessionId} is ${end?.state ?? 'unknown'}, and was answered: ${told}`);
    if (this.#seat?.sessionId !== sessionId) return;
    this.replaced.push({ sessionId, reason: end?.reason ?? 'unknown' });
    this.#seat = undefined;
    this.#stream?.close();
  }

  async #read(stream: SseStream, seat: Seat): Promise<void> {
    const epoch = String(stream.headers['x-qwen-event-epoch']);
    const state = { seen: 0, isResync: seat.epoch === undefined };
    let hasEnded = false;
    const ended = stream.end.then(() => {
      hasEnded = true;
    });
    while (!hasEnded || state.seen < stream.frames.length) {
      for (; state.seen < stream.frames.length; state.seen += 1) {
        const frame = stream.frames[state.seen];
        if (frame?.event === 'state_resync_required') state.isResync = true;
        if (frame?.id !== undefined) {
          if (seat.epoch !== undefined && seat.epoch !== epoch && !state.isResync)
            this.#violation(`a new bus of ${seat.sessionId} without a word of it`);
          this.#takeId(seat, Number(frame.id), state.isResync);
          state.isResync = false;
          seat.epoch = epoch;
        }
        if (frame?.envelope !== undefined) this.#takeEvent(frame.envelope.type, frame.envelope.data, seat);
      }
      await Promise.race([ended, sleep(5)]);
    }
    if (stream.unfinished !== '' && (await stream.end) === 'ended')
      this.#violation('a stream ended inside a frame');
  }

  /** Ids go up by one; only a resync may jump, and never back. */
  #takeId(seat: Seat, id: number, mayJump: boolean): void {
    const isNext = mayJump ? id > seat.lastId : id === seat.lastId + 1;
    if (!isNext) this.#violation(`event ${id} of ${seat.sessionId} after ${seat.lastId}`);
    seat.lastId = id;
  }

  #takeEvent(type: string, data: unknown, { sessionId }: Seat): void {
    const { promptId, code, requestId } = data as { promptId?: string; code?: string; requestId?: string };
    if (type === 'permission_request' && requestId !== undefined) {
      this.questions.push({ sessionId, requestId });
      if (!this.holdsVotes) void this.#vote(sessionId, requestId);
    }
    if ((type !== 'turn_complete' && type !== 'turn_error') || promptId === undefined) return;
    const end = [type, code].filter(Boolean).join(' ');
    const prompt = this.prompts.find((known) => known.promptId === promptId);
    if (prompt === undefined) {
      this.#early.set(promptId, [...(this.#early.get(promptId) ?? []), end]);
      return;
    }
    prompt.ends.push(end);
    prompt.endedAtMs ??= performance.now();
    if (prompt.ends.length > 1) this.#violation(`prompt ${promptId} ended twice: ${prompt.ends.join(', ')}`);
  }

  /** A question is told once: a vote that met nobody is cast again, until the question is answered or gone. */
  async #vote(sessionId: string, requestId: string): Promise<void> {
    const json = { outcome: { outcome: 'selected', optionId: 'allow' } };
    const path = `/session/${sessionId}/permission/${requestId}`;
    while (!this.holdsVotes && !this.#hasStopped) {
      const answer = await this.#ask('POST', path, json);
      if (!LATER.has(answer.status)) return;
      await sleep(PAUSE_MS);
    }
  }

  /** Set to leave questions open. */
  holdsVotes = false;
  readonly questions: { readonly sessionId: string; readonly requestId: string }[] = [];

  /** Answers what was left open, and from now on whatever comes. */
  async voteNow(): Promise<void> {
    this.holdsVotes = false;
    await Promise.all(this.questions.map(({ sessionId, requestId }) => this.#vote(sessionId, requestId)));
  }

  #violation(words: string): void {
    this.violations.push(`${this.name}: ${words}`);
  }
}
