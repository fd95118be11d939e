// What a turn puts on the bus and tells the coordinator, event by event. turns.ts decides when, so that nothing is said twice.

import type { Clock } from '../contract/clock.ts';
import type { FeedPrompt } from '../contract/feed.ts';
import type { EventTags } from '../domain/frame.ts';
import type { MidTurnMessage } from '../domain/mid-turn.ts';
import { type PromptEntry, promptText } from '../domain/prompt-queue.ts';
import type { Bus } from '../events/bus.ts';

export interface TurnError {
  readonly message: string;
  readonly code?: string;
  readonly errorKind?: string;
}

export interface TurnEventsOptions {
  readonly sessionId: string;
  readonly bus: Bus;
  readonly clock: Clock;
  /** Tells the coordinator of every step of a prompt. */
  readonly onPrompt: (prompt: FeedPrompt) => void;
}

export class TurnEvents {
  readonly #o: TurnEventsOptions;

  constructor(options: TurnEventsOptions) {
    this.#o = options;
  }

  admitted(entry: PromptEntry): void {
    this.#tell(entry, 'queued');
    if (entry.hadToQueue) this.#pending('pending_prompt_added', entry, { queuedAt: entry.queuedAtMs });
  }

  /** The prompt runs now; its blocks are echoed, for clients that did not send it. */
  started(entry: PromptEntry): void {
    this.#tell(entry, 'running');
    if (entry.hadToQueue) this.#pending('pending_prompt_started', entry, {});
    for (const content of entry.content)
      this.#publish(
        'session_update',
        { update: { sessionUpdate: 'user_message_chunk', content, _meta: { source: 'bridge-echo' } } },
        tagsOf(entry),
      );
  }

  /**
   * @param clientId whose doing it is; undefined for somebody who did not say.
   * @param reason set when the agent failed the prompt rather than a client cancelling it.
   */
  cancelled({ promptId }: PromptEntry, clientId: string | undefined, reason?: 'forward_failed'): void {
    const tags = { promptId, originatorClientId: clientId };
    this.#publish('prompt_cancelled', reason === undefined ? {} : { reason }, tags);
  }

  completed(entry: PromptEntry, stopReason: string, extras: Readonly<Record<string, unknown>>): void {
    this.#tell(entry, 'completed', stopReason);
    this.#publish('turn_complete', { stopReason, promptId: entry.promptId, ...extras }, tagsOf(entry));
  }

  failed(entry: PromptEntry, error: TurnError): void {
    this.#tell(entry, 'failed', error.code ?? 'turn_error');
    this.#publish('turn_error', { ...error, promptId: entry.promptId }, tagsOf(entry));
  }

  /** Closes the frame that `pending_prompt_added` opened. */
  left(entry: PromptEntry, state: 'completed' | 'removed'): void {
    this.#pending('pending_prompt_completed', entry, { state });
  }

  midTurnAdded({ messageId, text, queuedAtMs, clientId }: MidTurnMessage): void {
    const data = { promptId: messageId, text, queuedAt: queuedAtMs };
    this.#publish('pending_prompt_added', data, { promptId: messageId, originatorClientId: clientId });
  }

  midTurnRemoved({ messageId, clientId }: MidTurnMessage): void {
    const data = { promptId: messageId, state: 'removed' };
    this.#publish('pending_prompt_completed', data, { promptId: messageId, originatorClientId: clientId });
  }

  midTurnInjected(messages: readonly MidTurnMessage[], running: PromptEntry | undefined): void {
    const data = {
      messages: messages.map(({ text }) => text),
      messageIds: messages.map(({ messageId }) => messageId),
    };
    this.#publish('mid_turn_message_injected', data, running === undefined ? {} : tagsOf(running));
    for (const { messageId, clientId } of messages)
      this.#publish(
        'pending_prompt_completed',
        { promptId: messageId, state: 'completed' },
        { promptId: messageId, originatorClientId: clientId },
      );
  }

  #pending(type: string, entry: PromptEntry, extras: Readonly<Record<string, unknown>>): void {
    const text = type === 'pending_prompt_completed' ? {} : { text: promptText(entry.content) };
    this.#publish(type, { promptId: entry.promptId, ...text, ...extras }, tagsOf(entry));
  }

  #publish(type: string, data: Readonly<Record<string, unknown>>, tags: EventTags): void {
    this.#o.bus.publish(type, { sessionId: this.#o.sessionId, ...data }, tags);
  }

  #tell(entry: PromptEntry, state: FeedPrompt['state'], outcome?: string): void {
    const { sessionId, clock, onPrompt } = this.#o;
    const end = outcome === undefined ? {} : { outcome };
    onPrompt({ promptId: entry.promptId, sessionId, state, atMs: clock.nowMs(), ...end });
  }
}

function tagsOf(entry: PromptEntry): EventTags {
  return { promptId: entry.promptId, originatorClientId: entry.clientId };
}
