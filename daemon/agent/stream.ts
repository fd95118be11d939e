// The stream of ACP messages between an agent child and the ACP SDK. The agent's notifications and requests bypass the SDK: they
// are handed over synchronously, in the order of the output and unparsed beyond JSON. The SDK gets only the answers to the
// daemon's calls. (The SDK would check every `session/update` against its schema, 10 us each, refuse unknown kinds, and start
// handlers without keeping their order.)

import type { Readable, Writable } from 'node:stream';
import type { AnyMessage, Stream } from '@agentclientprotocol/sdk';
import { isRecord } from '../contract/json-record.ts';
import { type Log, truncated } from '../contract/log.ts';
import { AgentCallError, type AgentSink, INTERNAL_ERROR, type Params } from './agent.ts';
import { LineSplitter } from './lines.ts';

/** Receives the agent's notifications and requests. Called synchronously, one after the other. */
export type Incoming = Pick<AgentSink, 'update' | 'notification' | 'request'>;

export interface AgentStreamOptions {
  readonly stdin: Writable;
  readonly stdout: Readable;
  readonly incoming: Incoming;
  /** The longest line that the agent may write to stdout, in bytes; a longer line breaks the channel. */
  readonly maxLineBytes: number;
  readonly log: Log;
  /**
   * Called once, when the channel cannot be used any more though the process may live: a line was too long, or the agent closed
   * its stdin.
   */
  onBroken(reason: string): void;
}

const UPDATE = 'session/update';
const UPDATE_HEAD = `{"jsonrpc":"2.0","method":"${UPDATE}","params":`;
/** How many stdout lines that are no ACP message are logged; lines beyond that are only counted. */
const LOGGED_JUNK_LINES = 20;

export class AgentStream {
  /** The stream that the SDK connects to. */
  readonly acp: Stream;
  readonly #options: AgentStreamOptions;
  readonly #splitter: LineSplitter;
  #answers: ReadableStreamDefaultController<AnyMessage> | undefined;
  /** Ids of the daemon's calls that have no answer yet. */
  readonly #awaited = new Set<unknown>();
  #lines: string[] = [];
  #isYielding = false;
  #isBroken = false;
  #onIdle: (() => void) | undefined;
  #junkLines = 0;

  /** Starts reading the child's stdout at once. */
  constructor(options: AgentStreamOptions) {
    this.#options = options;
    this.#splitter = new LineSplitter({
      maxBytes: options.maxLineBytes,
      onLine: (line) => this.#lines.push(line),
      onOverflow: (start) =>
        this.#break(`the agent sent a line longer than ${options.maxLineBytes} bytes`, start),
    });
    this.acp = {
      readable: new ReadableStream<AnyMessage>({
        start: (controller) => {
          this.#answers = controller;
        },
      }),
      writable: new WritableStream<AnyMessage>({ write: (message) => this.#write(message) }),
    };
    options.stdin.on('error', (error: NodeJS.ErrnoException) =>
      this.#break(`the agent closed its stdin (${error.code ?? error.message})`),
    );
    options.stdout.on('error', () => undefined);
    options.stdout.on('data', (chunk: Buffer) => {
      if (this.#isBroken) return;
      this.#splitter.push(chunk);
      this.#handOver();
    });
  }

  /**
   * Hands over every line that has been read, also a last line without a newline. To be called once, when no more output will
   * come.
   */
  async finish(): Promise<void> {
    this.#splitter.end();
    this.#handOver();
    if (this.#isYielding)
      await new Promise<void>((resolve) => {
        this.#onIdle = resolve;
      });
  }

  #handOver(): void {
    if (this.#isYielding) return;
    const lines = this.#lines;
    this.#lines = [];
    for (let index = 0; index < lines.length; index += 1) {
      if (!this.#take(lines[index] as string)) continue;
      this.#lines = [...lines.slice(index + 1), ...this.#lines];
      this.#yield();
      return;
    }
    this.#onIdle?.();
  }

  /**
   * Defers the lines that follow an answer until the microtasks have run that take the answer to its caller, so that the caller
   * sees its answer before the agent's later messages.
   */
  #yield(): void {
    this.#isYielding = true;
    setImmediate(() => {
      this.#isYielding = false;
      this.#handOver();
    });
  }

  /** Handles one line of the agent's output. @returns whether the line was the answer to a call of the daemon. */
  #take(line: string): boolean {
    const message = parse(line);
    if (message === undefined) {
      if (line.trim() !== '') this.#junk(line);
      return false;
    }
    const { id, method } = message;
    if (typeof method === 'string') {
      if (id === undefined) this.#notified(method, message, line);
      else this.#called(id, method, message.params);
      return false;
    }
    if (this.#awaited.delete(id)) {
      this.#answers?.enqueue(message as AnyMessage);
      return true;
    }
    this.#junk(line);
    return false;
  }

  #notified(method: string, message: Params, line: string): void {
    const params = asParams(message.params);
    const { incoming, log } = this.#options;
    try {
      if (method !== UPDATE) incoming.notification(method, params);
      else if (typeof params.sessionId === 'string')
        incoming.update(params.sessionId, params, paramsText(line, message));
      else this.#junk(line);
    } catch (error) {
      log.error({ err: error, method }, 'a message from the agent could not be handled');
    }
  }

  #called(id: unknown, method: string, raw: unknown): void {
    const { incoming, log } = this.#options;
    // Runs the handler at once up to its first await, so that the receiver sees the agent's requests in the order of the output.
    const call = async () => incoming.request(method, asParams(raw));
    call()
      .then((result) => this.#send({ jsonrpc: '2.0', id, result: result ?? null }))
      .catch((error: unknown) => {
        if (!(error instanceof AgentCallError))
          log.error({ err: error, method }, 'a call from the agent failed');
        this.#send({ jsonrpc: '2.0', id, error: errorBody(error) });
      });
  }

  async #write(message: AnyMessage): Promise<void> {
    if ('method' in message && 'id' in message) this.#awaited.add(message.id);
    const { stdin } = this.#options;
    // Does not reject when the child's stdin is closed: the SDK would close the connection with the raw error, before the child's
    // exit is known.
    if (!this.#send(message) && stdin.writable) await drained(stdin);
  }

  #send(message: object): boolean {
    const { stdin } = this.#options;
    return stdin.writable && stdin.write(`${JSON.stringify(message)}\n`);
  }

  #break(reason: string, start = ''): void {
    if (this.#isBroken) return;
    this.#isBroken = true;
    this.#options.log.debug({ reason, start: truncated(start) }, 'agent channel broken');
    this.#options.onBroken(reason);
  }

  #junk(line: string): void {
    this.#junkLines += 1;
    if (this.#junkLines > LOGGED_JUNK_LINES) return;
    const fields = { line: truncated(line), count: this.#junkLines };
    this.#options.log.warn(fields, 'the agent wrote a line to stdout that is not an ACP message');
  }
}

function parse(line: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(line);
    return isRecord(value) ? value : undefined;
  } catch {
    // The line was printed by the agent or one of its libraries and is no ACP message; the caller counts it.
    return undefined;
  }
}

/**
 * Cuts the JSON text of the params out of a `session/update` line, if the line begins the way agents write it; serialising the
 * params again would cost as much as parsing them. Undefined for any other line, and for a line with a carriage return, which
 * JSON allows between its tokens: in an event stream a carriage return ends the line.
 */
function paramsText(line: string, message: Params): string | undefined {
  const isPlain = line.startsWith(UPDATE_HEAD) && line.endsWith('}') && !line.includes('\r');
  return isPlain && hasKeys(message, 3) ? line.slice(UPDATE_HEAD.length, -1) : undefined;
}

/**
 * Whether a message has exactly `count` keys. With only the three keys of UPDATE_HEAD, nothing follows the params in the line.
 */
function hasKeys(message: Params, count: number): boolean {
  let seen = 0;
  for (const _ in message) seen += 1;
  return seen === count;
}

function asParams(raw: unknown): Params {
  return isRecord(raw) ? raw : {};
}

function errorBody(error: unknown): object {
  if (!(error instanceof AgentCallError)) return { code: INTERNAL_ERROR, message: 'Internal error' };
  const { code, message, data } = error;
  return data === undefined ? { code, message } : { code, message, data };
}

function drained(stream: Writable): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      stream.off('drain', done);
      stream.off('close', done);
      resolve();
    };
    stream.on('drain', done);
    stream.on('close', done);
  });
}
