// Relays a daemon's answer to the client, with backpressure. This file decides what becomes of an answer that is cut off:
// an event stream ends with a terminal frame at a frame boundary; any other answer's connection is destroyed, so that the client
// cannot take the part for the whole.
import type { IncomingMessage, ServerResponse } from 'node:http';
import { FrameGate } from './frame-gate.ts';
import { downstreamHeaders } from './headers.ts';

/** Why an event stream was cut before the daemon ended it. */
export type CutKind = 'daemon_died' | 'frame_too_large';

export interface EventRelaySpec {
  /** Makes the last frame for the client, which says why the stream was cut. */
  readonly terminalFrame: (kind: CutKind) => string;
  /** Bytes that may wait for the rest of their frame; the stream is cut when a frame gets longer. */
  readonly maxFrameBytes: number;
  /** Called once, when the stream is over: ended by the daemon, cut, ended by `endPlainly`, or left by the client. */
  readonly onEnd: () => void;
}

export interface OpenStream {
  /** Ends the client's stream cleanly, at a frame boundary, and drops the daemon's answer. Idempotent. */
  endPlainly(): void;
}

/** Copies the daemon's status and headers to `res`. A header that the coordinator has set before (request id, CORS) stays. */
function relayHead(upstream: IncomingMessage, res: ServerResponse): void {
  res.statusCode = upstream.statusCode ?? 502;
  if (upstream.statusMessage) res.statusMessage = upstream.statusMessage;
  for (const [name, values] of downstreamHeaders(upstream)) {
    if (!res.hasHeader(name)) res.setHeader(name, values.length === 1 ? (values[0] as string) : values);
  }
}

export function isEventStream(upstream: IncomingMessage): boolean {
  return /^text\/event-stream\b/i.test(upstream.headers['content-type'] ?? '');
}

/** Relays a daemon's answer byte for byte. If the daemon breaks off, the client's connection is destroyed. */
export function relayPlain(upstream: IncomingMessage, res: ServerResponse): void {
  relayHead(upstream, res);
  // `close` follows every `error` and handles it; without an `error` listener the error would end the process.
  upstream.on('error', () => undefined);
  upstream.on('close', () => {
    if (!upstream.complete) res.destroy();
  });
  upstream.pipe(res);
}

/** Relays a daemon's answer whose body has been read already. */
export function relayWhole(upstream: IncomingMessage, body: Buffer, res: ServerResponse): void {
  relayHead(upstream, res);
  res.end(body);
}

/** Relays an event stream in whole frames, until the daemon or the client ends it. */
export function relayEvents(
  upstream: IncomingMessage,
  res: ServerResponse,
  spec: EventRelaySpec,
): OpenStream {
  const stream = new EventRelay(upstream, res, spec);
  stream.start();
  return stream;
}

class EventRelay implements OpenStream {
  readonly #upstream: IncomingMessage;
  readonly #res: ServerResponse;
  readonly #spec: EventRelaySpec;
  readonly #gate = new FrameGate();
  #isOpen = true;

  constructor(upstream: IncomingMessage, res: ServerResponse, spec: EventRelaySpec) {
    this.#upstream = upstream;
    this.#res = res;
    this.#spec = spec;
  }

  start(): void {
    relayHead(this.#upstream, this.#res);
    this.#res.flushHeaders();
    this.#upstream.on('data', (chunk: Buffer) => this.#take(chunk));
    this.#upstream.on('end', () => this.#over());
    // A cut answer emits `error` and `close`, a complete answer `end` and `close`: `#over` acts on the first event only.
    this.#upstream.on('error', () => this.#over());
    this.#upstream.on('close', () => this.#over());
    this.#res.on('close', () => this.#finish());
  }

  endPlainly(): void {
    if (!this.#isOpen) return;
    this.#finish();
    this.#res.end();
    this.#upstream.destroy();
  }

  #take(chunk: Buffer): void {
    if (!this.#isOpen) return;
    const whole = this.#gate.push(chunk);
    if (this.#gate.pendingBytes > this.#spec.maxFrameBytes) {
      this.#cut('frame_too_large');
      return;
    }
    if (whole === undefined) return;
    if (this.#res.write(whole)) return;
    this.#upstream.pause();
    this.#res.once('drain', () => this.#upstream.resume());
  }

  #over(): void {
    if (!this.#isOpen) return;
    if (this.#upstream.complete) this.endPlainly();
    else this.#cut('daemon_died');
  }

  #cut(kind: CutKind): void {
    this.#finish();
    this.#res.end(this.#spec.terminalFrame(kind));
    this.#upstream.destroy();
  }

  #finish(): void {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    this.#spec.onEnd();
  }
}
