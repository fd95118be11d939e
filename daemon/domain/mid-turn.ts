// Messages for a turn that runs already. The agent drains them when it can; what it never takes becomes a prompt of its
// own when the turn ends, so that an accepted message is not lost.

export interface MidTurnMessage {
  readonly messageId: string;
  readonly text: string;
  readonly clientId: string | undefined;
  readonly queuedAtMs: number;
}

export class MidTurnQueue {
  #messages: MidTurnMessage[] = [];

  get size(): number {
    return this.#messages.length;
  }

  add(message: MidTurnMessage): void {
    this.#messages.push(message);
  }

  /** Takes every message out, in order. */
  drain(): readonly MidTurnMessage[] {
    const messages = this.#messages;
    this.#messages = [];
    return messages;
  }

  /** Takes one out; undefined when it is not waiting. */
  remove(messageId: string): MidTurnMessage | undefined {
    const message = this.#messages.find((candidate) => candidate.messageId === messageId);
    this.#messages = this.#messages.filter((candidate) => candidate !== message);
    return message;
  }
}
