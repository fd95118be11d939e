// Publishes the events of prompts and turns on the bus, and passes each step of a prompt to the listener, for the coordinator.
// turns.ts decides when each method is called, so that nothing is published twice.

import type { Clock } from '../contract/clock.ts';
import type { FeedPrompt } from '../contract/feed.ts';
import type { JsonRecord } from '../contract/json-record.ts';
import type { EventTags } from '../domain/frame.ts';
import type { MidTurnMessage } from '../domain/mid-turn.ts';
import { type PromptEntry, promptText } from '../domain/prompt-queue.ts';
import type { Bus } from '../events/bus.ts';

export interface TurnError {
  readonly message: string;
  readonly code?: string;
  readonly errorKind?: string;
}

/** Receives every step of a session's prompts, in the tick of the step and before its event. */
export interface PromptListener {
  prompt(step: FeedPrompt): void;
}

export interface TurnEventsDeps {
  readonly sessionId: string;
  readonly bus: Bus;
  readonly clock: Clock;
  readonly listener: PromptListener;
}

export class TurnEvents {
  readonly #deps: TurnEventsDeps;

  constructor(deps: TurnEventsDeps) {
    this.#deps = deps;
  }

  accepted(entry: PromptEntry): void {
    this.#step(entry, 'queued');
    if (entry.hadToQueue) this.#pending('pending_prompt_added', entry, { queuedAt: entry.queuedAtMs });
  }

  /** Publishes that the prompt runs now, and echoes its content blocks for the clients that did not send it. */
  started(entry: PromptEntry): void {
    this.#step(entry, 'running');
    if (entry.hadToQueue) this.#pending('pending_prompt_started', entry, {});
    for (const content of entry.content)
      this.#publish(
        'session_update',
        { update: { sessionUpdate: 'user_message_chunk', content, _meta: { source: 'bridge-echo' } } },
        tagsOf(entry),
      );
  }

  /**
   * Publishes `prompt_cancelled`.
   * @param clientId the client that cancelled the prompt; undefined where the request named none.
   * @param reason set when the agent failed the prompt rather than a client cancelling it.
   */
  cancelled({ promptId }: PromptEntry, clientId: string | undefined, reason?: 'forward_failed'): void {
    const tags = { promptId, originatorClientId: clientId };
    this.#publish('prompt_cancelled', reason === undefined ? {} : { reason }, tags);
  }

  completed(entry: PromptEntry, stopReason: string, extras: JsonRecord): void {
    this.#step(entry, 'completed', stopReason);
    this.#publish('turn_complete', { stopReason, promptId: entry.promptId, ...extras }, tagsOf(entry));
  }

  failed(entry: PromptEntry, error: TurnError): void {
    this.#step(entry, 'failed', error.code ?? 'turn_error');
    this.#publish('turn_error', { ...error, promptId: entry.promptId }, tagsOf(entry));
  }

  /** Publishes `pending_prompt_completed`, the counterpart of the `pending_prompt_added` of a prompt that had to queue. */
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
    this.#publish('mid_turn_message_injected', data, turnTags(running));
    for (const { messageId, clientId } of messages)
      this.#publish(
        'pending_prompt_completed',
        { promptId: messageId, state: 'completed' },
        { promptId: messageId, originatorClientId: clientId },
      );
  }

  #pending(type: string, entry: PromptEntry, extras: JsonRecord): void {
    const text = type === 'pending_prompt_completed' ? {} : { text: promptText(entry.content) };
    this.#publish(type, { promptId: entry.promptId, ...text, ...extras }, tagsOf(entry));
  }

  #publish(type: string, data: JsonRecord, tags: EventTags): void {
    this.#deps.bus.publish(type, { sessionId: this.#deps.sessionId, ...data }, tags);
  }

  #step(entry: PromptEntry, state: FeedPrompt['state'], outcome?: string): void {
    const { sessionId, clock, listener } = this.#deps;
    const end = outcome === undefined ? {} : { outcome };
    listener.prompt({ promptId: entry.promptId, sessionId, state, atMs: clock.nowMs(), ...end });
  }
}

/** The tags of an event that belongs to the running turn; no tags where no turn runs. */
export function turnTags(running: PromptEntry | undefined): EventTags {
  return running === undefined ? {} : tagsOf(running);
}

function tagsOf(entry: PromptEntry): EventTags {
  return { promptId: entry.promptId, originatorClientId: entry.clientId };
}
