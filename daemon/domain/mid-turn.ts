// Messages that clients send to a turn while it runs. The agent fetches them when it can; a message that the agent has not
// fetched when the turn ends becomes a prompt, so that no accepted message is lost.
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

  /** Removes and returns every message, in order. */
  drain(): readonly MidTurnMessage[] {
    const messages = this.#messages;
    this.#messages = [];
    return messages;
  }

  /** Removes and returns the message; undefined when the queue does not have it. */
  remove(messageId: string): MidTurnMessage | undefined {
    const message = this.#messages.find((candidate) => candidate.messageId === messageId);
    this.#messages = this.#messages.filter((candidate) => candidate !== message);
    return message;
  }
}

/** The field `message` of a mid-turn request, checked. @throws ApiError 400 when it is no string, or blank. */
export function parseMidTurnText(message: unknown): string {
  if (typeof message === 'string' && message.trim() !== '') return message;
  throw failPlain(400, '`message` must be a non-blank string');
}

/**
 * The message as a prompt, under the message's id. Clients were already shown the message as pending, so `hadToQueue` is true:
 * the prompt publishes the same events as a prompt that waited.
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
