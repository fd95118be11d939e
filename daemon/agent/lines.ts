// Cuts a byte stream (the agent's stdout or stderr) into lines, with a bound on the bytes that are kept of an unfinished line.
const NEWLINE = 0x0a;

export interface LineOptions {
  /**
   * A line that exceeds this many bytes before its newline comes is given up: `onOverflow` is called, and the rest of the line is
   * dropped.
   */
  readonly maxBytes: number;
  /** Called synchronously for each whole line, without its newline. */
  onLine(line: string): void;
  /** Called once for each line that was given up. @param start the line's first bytes as text. */
  onOverflow(start: string): void;
}

const OVERFLOW_START_BYTES = 1024;

export class LineSplitter {
  readonly #options: LineOptions;
  #kept: Buffer[] = [];
  #keptBytes = 0;
  #isSkipping = false;

  constructor(options: LineOptions) {
    this.#options = options;
  }

  push(chunk: Buffer): void {
    const lastNewline = chunk.lastIndexOf(NEWLINE);
    if (lastNewline === -1) {
      this.#keep(chunk);
      return;
    }
    // Decodes all lines of a chunk at once, because a read of 64 KiB has hundreds of lines.
    const lines = this.#textWith(chunk.subarray(0, lastNewline)).split('\n');
    if (this.#isSkipping) {
      this.#isSkipping = false;
      lines.shift();
    }
    for (const line of lines) this.#options.onLine(line);
    this.#keep(chunk.subarray(lastNewline + 1));
  }

  /** To be called at the end of the stream: hands a last line without a newline to `onLine`. */
  end(): void {
    const text = this.#textWith(Buffer.alloc(0));
    if (text !== '' && !this.#isSkipping) this.#options.onLine(text);
  }

  #textWith(tail: Buffer): string {
    const bytes = this.#kept.length === 0 ? tail : Buffer.concat([...this.#kept, tail]);
    this.#kept = [];
    this.#keptBytes = 0;
    return bytes.toString('utf8');
  }

  #keep(bytes: Buffer): void {
    if (this.#isSkipping || bytes.length === 0) return;
    this.#kept.push(bytes);
    this.#keptBytes += bytes.length;
    if (this.#keptBytes <= this.#options.maxBytes) return;
    const start = Buffer.concat(this.#kept).toString('utf8', 0, OVERFLOW_START_BYTES);
    this.#kept = [];
    this.#keptBytes = 0;
    this.#isSkipping = true;
    this.#options.onOverflow(start);
  }
}
