// Lets only whole SSE frames through: bytes after the last blank line wait for the rest of their frame.

const LF = 0x0a;
const CR = 0x0d;

export class FrameGate {
  #held: Buffer[] = [];
  #heldBytes = 0;

  /** Bytes of the unfinished frame. */
  get pendingBytes(): number {
    return this.#heldBytes;
  }

  /** Takes the next bytes; returns all whole frames that are now complete, or undefined when there is none. */
  push(chunk: Buffer): Buffer | undefined {
    const end = this.#endOfLastFrame(chunk);
    if (end === 0) {
      this.#hold(chunk);
      return undefined;
    }
    const whole = Buffer.concat([...this.#held, chunk.subarray(0, end)]);
    this.#held = [];
    this.#heldBytes = 0;
    if (end < chunk.length) this.#hold(chunk.subarray(end));
    return whole;
  }

  #hold(bytes: Buffer): void {
    if (bytes.length === 0) return;
    this.#held.push(bytes);
    this.#heldBytes += bytes.length;
  }

  /** Offset in `chunk` just after the last blank line that ends in it; 0 when none does. */
  #endOfLastFrame(chunk: Buffer): number {
    for (let at = chunk.lastIndexOf(LF); at !== -1; at = at === 0 ? -1 : chunk.lastIndexOf(LF, at - 1)) {
      if (this.#isBlankLineBefore(chunk, at)) return at + 1;
    }
    return 0;
  }

  /** Whether the line that the LF at `at` ends is empty, looking back into what is held. */
  #isBlankLineBefore(chunk: Buffer, at: number): boolean {
    const previous = this.#byteAt(chunk, at - 1);
    return previous === LF || (previous === CR && this.#byteAt(chunk, at - 2) === LF);
  }

  #byteAt(chunk: Buffer, at: number): number | undefined {
    if (at >= 0) return chunk[at];
    let back = at;
    for (let index = this.#held.length - 1; index >= 0; index -= 1) {
      const piece = this.#held[index] as Buffer;
      if (piece.length + back >= 0) return piece[piece.length + back];
      back += piece.length;
    }
    return undefined;
  }
}
