// A response whose reader does what the test says: reads on, or stops and lets everything pile up.
import { EventEmitter } from 'node:events';
import type { ServerResponse } from 'node:http';
import type { EventEnvelope } from '../../daemon/contract/wire.ts';
import { parseFrames } from './session-parts.ts';

export class FakeResponse extends EventEmitter {
  /** What the reader has got. */
  text = '';
  /** No write is possible any more: it was ended in order. */
  isEnded = false;
  /** It was cut. */
  isDestroyed = false;
  #isBlocked = false;
  #held: { readonly text: string; readonly done: (() => void) | undefined }[] = [];

  /** As the product's code sees it. */
  get res(): ServerResponse {
    return this as unknown as ServerResponse;
  }

  get frames(): EventEnvelope[] {
    return parseFrames(this.text);
  }

  get types(): string[] {
    return this.frames.map(({ type }) => type);
  }

  get ids(): number[] {
    return this.frames.flatMap(({ id }) => (id === undefined ? [] : [id]));
  }

  /** The first frame of a type, among those that were read. */
  dataOf(type: string): Record<string, unknown> | undefined {
    return this.frames.find((frame) => frame.type === type)?.data as Record<string, unknown> | undefined;
  }

  /** Writes that nobody has read. */
  get held(): string {
    return this.#held.map(({ text }) => text).join('');
  }

  get writableLength(): number {
    return Buffer.byteLength(this.held);
  }

  write(bytes: Buffer, done?: () => void): boolean {
    if (this.isEnded || this.isDestroyed) throw new Error('write after the end');
    this.#take(bytes, done);
    return !this.#isBlocked;
  }

  end(bytes?: Buffer): void {
    if (bytes !== undefined) this.#take(bytes, undefined);
    this.isEnded = true;
    if (!this.#isBlocked) this.emit('close');
  }

  destroy(): void {
    this.isDestroyed = true;
    this.emit('close');
  }

  /** The reader stops: its socket takes nothing more. */
  block(): void {
    this.#isBlocked = true;
  }

  /** The reader reads again, everything that waits for it. `isStill`: and stops again at once. */
  unblock(isStill = false): void {
    this.#isBlocked = isStill;
    const held = this.#held;
    this.#held = [];
    for (const { text, done } of held) {
      this.text += text;
      done?.();
    }
    if (this.isEnded) this.emit('close');
    else this.emit('drain');
  }

  #take(bytes: Buffer, done: (() => void) | undefined): void {
    if (this.#isBlocked) {
      this.#held.push({ text: bytes.toString(), done });
      return;
    }
    this.text += bytes.toString();
    done?.();
  }
}
