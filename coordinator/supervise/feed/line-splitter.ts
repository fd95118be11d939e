// Splits the bytes of a feed into lines. A line that is too long is an error: unlike in an agent's output it cannot be skipped,
// because a feed with a missing line is worthless.

const NEWLINE = 0x0a;

export class FeedLineSplitter {
  readonly #maxLineBytes: number;
  /** The parts of the unfinished line. */
  #pending: Buffer[] = [];
  #pendingBytes = 0;

  constructor(maxLineBytes: number) {
    this.#maxLineBytes = maxLineBytes;
  }

  /**
   * The lines that `chunk` completes, without their newlines, in order. An unfinished rest is kept for the next call.
   * @throws Error when a line, finished or not, is longer than `maxLineBytes`.
   */
  *push(chunk: Buffer): Generator<string> {
    let from = 0;
    for (let end = chunk.indexOf(NEWLINE); end !== -1; end = chunk.indexOf(NEWLINE, from)) {
      this.#keep(chunk.subarray(from, end));
      yield Buffer.concat(this.#pending).toString('utf8');
      this.#pending = [];
      this.#pendingBytes = 0;
      from = end + 1;
    }
    if (from < chunk.length) this.#keep(chunk.subarray(from));
  }

  #keep(part: Buffer): void {
    this.#pendingBytes += part.length;
    if (this.#pendingBytes > this.#maxLineBytes)
      throw new Error(`line is longer than ${this.#maxLineBytes} bytes`);
    this.#pending.push(part);
  }
}
