// Cuts a byte stream into lines with a bound on what is held for an unfinished one. Used for the agent's stdout and stderr.
const NEWLINE = 0x0a;

export interface LineOptions {
  /** An unfinished line longer than this is given up; what has not arrived of it is dropped up to its newline. */
  readonly maxBytes: number;
  /** Called synchronously for each whole line, without its newline. */
  onLine(line: string): void;
  /** Called once for each line that was given up, with its first bytes as text. */
  onOverflow(start: string): void;
}

const OVERFLOW_START_BYTES = 1024;

export class LineSplitter {
  readonly #options: LineOptions;
  #held: Buffer[] = [];
  #heldBytes = 0;
  #isSkipping = false;

  constructor(options: LineOptions) {
    this.#options = options;
  }

  push(chunk: Buffer): void {
    const lastNewline = chunk.lastIndexOf(NEWLINE);
    if (lastNewline === -1) {
      this.#hold(chunk);
      return;
    }
    // One decode for all lines of a chunk: a 64 KiB read holds hundreds of them.
    const lines = this.#textWith(chunk.subarray(0, lastNewline)).split('\n');
    if (this.#isSkipping) {
      this.#isSkipping = false;
      lines.shift();
    }
    for (const line of lines) this.#options.onLine(line);
    this.#hold(chunk.subarray(lastNewline + 1));
  }

  /** Hands over a last line that had no newline. */
  end(): void {
    const text = this.#textWith(Buffer.alloc(0));
    if (text !== '' && !this.#isSkipping) this.#options.onLine(text);
  }

  #textWith(tail: Buffer): string {
    const bytes = this.#held.length === 0 ? tail : Buffer.concat([...this.#held, tail]);
    this.#held = [];
    this.#heldBytes = 0;
    return bytes.toString('utf8');
  }

  #hold(bytes: Buffer): void {
    if (this.#isSkipping || bytes.length === 0) return;
    this.#held.push(bytes);
    this.#heldBytes += bytes.length;
    if (this.#heldBytes <= this.#options.maxBytes) return;
    const start = Buffer.concat(this.#held).toString('utf8', 0, OVERFLOW_START_BYTES);
    this.#held = [];
    this.#heldBytes = 0;
    this.#isSkipping = true;
    this.#options.onOverflow(start);
  }
}
