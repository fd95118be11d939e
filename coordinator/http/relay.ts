// A daemon's answer on its way to the client, with backpressure. What a cut answer becomes is decided here:
// event streams end with a terminal frame at a frame boundary, everything else is destroyed, never ended cleanly.
import type { IncomingMessage, ServerResponse } from 'node:http';
import { FrameGate } from './frame-gate.ts';
import { downstreamHeaders } from './headers.ts';

/** Why a stream ended before the daemon ended it. */
export type CutKind = 'daemon_died' | 'frame_too_large';

export interface EventRelaySpec {
  /** The frame that tells the client of the cut. */
  readonly terminalFrame: (kind: CutKind) => string;
  readonly maxFrameBytes: number;
  readonly onEnd: () => void;
}

export interface OpenStream {
  /** Ends the client's stream cleanly, at a frame boundary, and releases the daemon's. Idempotent. */
  endPlainly(): void;
}

/** Writes the daemon's status and headers. What the coordinator has set before (request id, CORS) wins. */
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

/** Relays an answer byte for byte. Cut upstream: the client's connection is destroyed. */
export function relayPlain(upstream: IncomingMessage, res: ServerResponse): void {
  relayHead(upstream, res);
  // An error is always followed by the close that is judged; without a listener it would end the process.
  upstream.on('error', () => undefined);
  upstream.on('close', () => {
    if (!upstream.complete) res.destroy();
  });
  upstream.pipe(res);
}

/** The same for an answer whose body has been read. */
export function relayWhole(upstream: IncomingMessage, body: Buffer, res: ServerResponse): void {
  relayHead(upstream, res);
  res.end(body);
}

/** Relays an event stream in whole frames. */
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
    // A cut answer emits error and close, an orderly one end and close; each order must end in one verdict.
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
