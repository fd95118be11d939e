// Messages for a turn that runs already. The agent drains them when it can; a message that it never takes becomes a prompt of
// its own when the turn ends, so that no accepted message is lost.
import { failPlain } from '../contract/errors.ts';
import type { PromptEntry } from './prompt-queue.ts';

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

  /** Takes the message out; undefined when it is not waiting. */
  remove(messageId: string): MidTurnMessage | undefined {
    const message = this.#messages.find((candidate) => candidate.messageId === messageId);
    this.#messages = this.#messages.filter((candidate) => candidate !== message);
    return message;
  }
}

/** The text of a message for a turn. @throws ApiError 400 when `message` is no text, or blank. */
export function parseMidTurnText(message: unknown): string {
  if (typeof message === 'string' && message.trim() !== '') return message;
  throw failPlain(400, '`message` must be a non-blank string');
}

/**
 * The message as a prompt of its own, under the message's id. Clients were shown it as pending already, so it is framed like a
 * prompt that had to queue.
 */
export function asPrompt({ messageId, clientId, text, queuedAtMs }: MidTurnMessage): PromptEntry {
  return {
    promptId: messageId,
    clientId,
    content: [{ type: 'text', text }],
    request: {},
    queuedAtMs,
    deadlineMs: undefined,
    hadToQueue: true,
  };
}
