// A client's request as the proxy library gets it: raw path, cleaned headers, explicit body framing, a byte cap.
// The library rewrites paths and strips the framing of DELETE bodies, so it never gets the client's own request.
import type { IncomingMessage, OutgoingHttpHeaders } from 'node:http';
import type { Socket } from 'node:net';
import { Transform, type TransformCallback } from 'node:stream';
import { failPlain } from '../../daemon/contract/errors.ts';
import { bodyTooLarge } from '../../daemon/contract/json-body.ts';

export interface UpstreamRequestSpec {
  /** Raw request target for the daemon. */
  readonly path: string;
  readonly headers: OutgoingHttpHeaders;
  readonly bodyCapBytes: number;
  /** Called once when a body of undeclared length exceeds the cap. The daemon gets nothing more of the body then. */
  readonly onOverCap: () => void;
}

/** The client's request body as a stream, with the fields of an IncomingMessage that the proxy library reads of a request. */
export class UpstreamRequest extends Transform {
  /** Always POST, because the library strips Transfer-Encoding from some methods. The true method is in the library's options. */
  readonly method = 'POST';
  readonly url: string;
  readonly headers: OutgoingHttpHeaders;
  readonly httpVersion: string;
  readonly httpVersionMajor = 1;
  readonly httpVersionMinor: number;
  readonly socket: Socket;
  readonly connection: Socket;
  readonly #capBytes: number;
  readonly #onOverCap: () => void;
  #seenBytes = 0;

  /** @throws ApiError 413 when the declared length is over the cap, 400 for a transfer coding other than chunked. */
  constructor(client: IncomingMessage, spec: UpstreamRequestSpec) {
    super();
    this.url = spec.path;
    this.headers = { ...spec.headers, ...framing(client, spec.bodyCapBytes) };
    this.httpVersion = client.httpVersion;
    this.httpVersionMinor = client.httpVersionMinor;
    this.socket = client.socket;
    this.connection = client.socket;
    this.#capBytes = spec.bodyCapBytes;
    this.#onOverCap = spec.onOverCap;
  }

  /** Starts to pass the client's body on; ends this stream at once when the request has no body. */
  feedFrom(client: IncomingMessage): void {
    if (hasBody(client)) client.pipe(this);
    else this.end();
  }

  override _transform(chunk: Buffer, _encoding: BufferEncoding, done: TransformCallback): void {
    const wasWithin = this.#seenBytes <= this.#capBytes;
    this.#seenBytes += chunk.length;
    if (this.#seenBytes <= this.#capBytes) {
      done(null, chunk);
      return;
    }
    // The rest of the body is dropped and no error raised: the client goes on sending until it has read the refusal.
    if (wasWithin) this.#onOverCap();
    done();
  }
}

/** Whether the client's headers announce a body. */
export function hasBody(client: IncomingMessage): boolean {
  return (
    client.headers['transfer-encoding'] !== undefined || Number(client.headers['content-length'] ?? 0) > 0
  );
}

function framing(client: IncomingMessage, capBytes: number): OutgoingHttpHeaders {
  const coding = client.headers['transfer-encoding'];
  if (coding !== undefined) {
    if (coding.trim().toLowerCase() !== 'chunked') throw failPlain(400, 'Unsupported transfer coding');
    return { 'transfer-encoding': 'chunked' };
  }
  const declared = client.headers['content-length'];
  if (declared === undefined) return {};
  if (Number(declared) > capBytes) throw bodyTooLarge(capBytes);
  return { 'content-length': declared };
}
