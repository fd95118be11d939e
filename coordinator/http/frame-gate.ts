// Lets only whole SSE frames through: the bytes after the last blank line wait for the rest of their frame.

const LF = 0x0a;
const CR = 0x0d;

export class FrameGate {
  #pending: Buffer[] = [];
  #pendingBytes = 0;

  /** Number of bytes that wait for the rest of their frame. */
  get pendingBytes(): number {
    return this.#pendingBytes;
  }

  /** Takes the stream's next bytes. @returns the bytes of all frames that are complete now; undefined when there is none. */
  push(chunk: Buffer): Buffer | undefined {
    const end = this.#endOfLastFrame(chunk);
    if (end === 0) {
      this.#keep(chunk);
      return undefined;
    }
    const whole = Buffer.concat([...this.#pending, chunk.subarray(0, end)]);
    this.#pending = [];
    this.#pendingBytes = 0;
    if (end < chunk.length) this.#keep(chunk.subarray(end));
    return whole;
  }

  #keep(bytes: Buffer): void {
    if (bytes.length === 0) return;
    this.#pending.push(bytes);
    this.#pendingBytes += bytes.length;
  }

  /** Offset in `chunk` just after the last blank line that ends in it; 0 when none does. */
  #endOfLastFrame(chunk: Buffer): number {
    for (let at = chunk.lastIndexOf(LF); at !== -1; at = at === 0 ? -1 : chunk.lastIndexOf(LF, at - 1)) {
      if (this.#isBlankLineBefore(chunk, at)) return at + 1;
    }
    return 0;
  }

  /** Whether the line that ends with the LF at `at` is empty; the line may begin in the pending bytes. */
  #isBlankLineBefore(chunk: Buffer, at: number): boolean {
    const previous = this.#byteAt(chunk, at - 1);
    return previous === LF || (previous === CR && this.#byteAt(chunk, at - 2) === LF);
  }

  #byteAt(chunk: Buffer, at: number): number | undefined {
    if (at >= 0) return chunk[at];
    let back = at;
    for (let index = this.#pending.length - 1; index >= 0; index -= 1) {
      const piece = this.#pending[index] as Buffer;
      if (piece.length + back >= 0) return piece[piece.length + back];
      back += piece.length;
    }
    return undefined;
  }
}
