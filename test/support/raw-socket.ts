// A bare TCP connection to a server, for requests that no HTTP client would make.
import { connect, type Socket } from 'node:net';
import { within } from './eventually.ts';

export class RawSocket {
  /** Everything that has come. */
  text = '';
  /** Resolves when the connection is over, in order or not. */
  readonly closed: Promise<void>;
  readonly #socket: Socket;
  readonly #watchers = new Set<() => void>();

  /** Connects to the host and port of `base`. */
  constructor(base: string) {
    const { hostname, port } = new URL(base);
    this.#socket = connect(Number(port), hostname);
    this.#socket.setEncoding('latin1').on('data', (text: string) => {
      this.text += text;
      for (const look of this.#watchers) look();
    });
    this.#socket.on('error', () => undefined);
    this.closed = new Promise((resolve) => this.#socket.once('close', () => resolve()));
  }

  send(text: string | Buffer): void {
    this.#socket.write(text);
  }

  /** Sends and waits for the other side to close. @returns what it said. @throws Error when it takes too long. */
  async exchange(text: string | Buffer, timeoutMs = 20_000): Promise<string> {
    this.send(text);
    await within(`the end of the connection, which said: ${this.text.slice(0, 200)}`, timeoutMs, this.closed);
    return this.text;
  }

  /** Resolves when what has come matches, or the connection is over. */
  until(matches: (text: string) => boolean): Promise<void> {
    const matched = new Promise<void>((resolve) => {
      const look = () => {
        if (matches(this.text)) resolve();
      };
      this.#watchers.add(look);
      look();
    });
    return Promise.race([matched, this.closed]);
  }

  /** Closes our side only: the other one may go on. */
  halfClose(): void {
    this.#socket.end();
  }

  destroy(): void {
    this.#socket.destroy();
  }
}
