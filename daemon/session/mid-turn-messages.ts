// Messages that clients send into the running turn of one session: accepted from clients, handed to the agent when it asks for
// them. Messages that the turn has not taken when it ends become prompts of their own, so that no accepted message is lost.
import { randomUUID } from 'node:crypto';
import type { Clock } from '../contract/clock.ts';
import type { JsonRecord } from '../contract/json-record.ts';
import { asPrompt, type MidTurnMessage, MidTurnQueue, parseMidTurnText } from '../domain/mid-turn.ts';
import type { PromptEntry } from '../domain/prompt-queue.ts';
import type { TurnEvents } from './turn-events.ts';

export type MidTurnAnswer =
  | { readonly accepted: true; readonly messageId: string }
  | { readonly accepted: false; readonly reason: 'session_idle' };

export class MidTurnMessages {
  readonly #queue = new MidTurnQueue();
  readonly #events: TurnEvents;
  readonly #clock: Clock;

  constructor(events: TurnEvents, clock: Clock) {
    this.#events = events;
    this.#clock = clock;
  }

  /**
   * Accepts a client's message while a turn runs; otherwise refuses it with `session_idle`.
   * @throws ApiError 400 when the message is not a text.
   */
  submit(message: unknown, clientId: string | undefined, isTurnRunning: boolean): MidTurnAnswer {
    const text = parseMidTurnText(message);
    if (!isTurnRunning) return { accepted: false, reason: 'session_idle' };
    const accepted = { messageId: randomUUID(), text, clientId, queuedAtMs: this.#clock.nowMs() };
    this.#queue.add(accepted);
    this.#events.midTurnAdded(accepted);
    return { accepted: true, messageId: accepted.messageId };
  }

  /** Hands every waiting message to the agent, for the running turn. @returns the agent's answer to `craft/drainMidTurnQueue`. */
  takeIntoTurn(running: PromptEntry | undefined): JsonRecord {
    const messages = this.#queue.drain();
    if (messages.length > 0) this.#events.midTurnInjected(messages, running);
    return {
      messages: messages.map(({ text }) => text),
      items: messages.map(({ messageId: id, text }) => ({ id, text })),
    };
  }

  /** Removes a waiting message on a client's behalf. @returns false when no message with this id waits. */
  remove(messageId: string): boolean {
    const message = this.#queue.remove(messageId);
    if (message !== undefined) this.#events.midTurnRemoved(message);
    return message !== undefined;
  }

  /** Removes the messages that the ended turn has not taken. @returns them as prompts, in order and under the messages' ids. */
  takeAsPrompts(): readonly PromptEntry[] {
    return this.#queue.drain().map(asPrompt);
  }

  /**
   * Removes every message because the session ends. The caller passes them to `reportRemoved` once the session's prompts have
   * ended.
   */
  takeAll(): readonly MidTurnMessage[] {
    return this.#queue.drain();
  }

  reportRemoved(messages: readonly MidTurnMessage[]): void {
    for (const message of messages) this.#events.midTurnRemoved(message);
  }
}
