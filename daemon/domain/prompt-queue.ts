// The prompts of one session: first in, first out, at most one running. Every accepted prompt leaves the queue exactly once.

export interface PromptEntry {
  readonly promptId: string;
  readonly clientId: string | undefined;
  /** Content blocks as the client sent them. */
  readonly content: readonly Record<string, unknown>[];
  /** Further params of the agent's `session/prompt`, besides session id and content. */
  readonly request: Readonly<Record<string, unknown>>;
  readonly queuedAtMs: number;
  readonly deadlineMs: number | undefined;
  /** Whether the prompt had to wait behind another prompt; only then pending_prompt_* events are published for it. */
  readonly hadToQueue: boolean;
}

export class PromptQueue {
  readonly #cap: number;
  #running: PromptEntry | undefined;
  #waiting: PromptEntry[] = [];

  /** @param cap most prompts at a time, the running prompt included; 0 = unlimited. */
  constructor(cap: number) {
    this.#cap = cap;
  }

  get running(): PromptEntry | undefined {
    return this.#running;
  }

  get waiting(): readonly PromptEntry[] {
    return this.#waiting;
  }

  /** Number of prompts, running and waiting. */
  get size(): number {
    return this.#waiting.length + (this.#running === undefined ? 0 : 1);
  }

  get isFull(): boolean {
    return this.#cap > 0 && this.size >= this.#cap;
  }

  /**
   * Appends a prompt to those that wait, for `startNext`. The caller has checked `isFull`.
   * @returns the queued entry; unless `prompt` gives `hadToQueue`, it is true when another prompt runs or waits.
   */
  accept(prompt: Omit<PromptEntry, 'hadToQueue'> & { readonly hadToQueue?: boolean }): PromptEntry {
    const entry = { hadToQueue: this.size > 0, ...prompt };
    this.#waiting.push(entry);
    return entry;
  }

  /** Makes the first waiting prompt the running one and returns it; undefined while a prompt runs, and when none waits. */
  startNext(): PromptEntry | undefined {
    if (this.#running !== undefined) return undefined;
    this.#running = this.#waiting.shift();
    return this.#running;
  }

  /** Removes the running prompt. @returns false when `promptId` is not, or no longer, the id of the running prompt. */
  settle(promptId: string): boolean {
    if (this.#running?.promptId !== promptId) return false;
    this.#running = undefined;
    return true;
  }

  /** Removes and returns a waiting prompt; undefined when no waiting prompt has this id. */
  removeWaiting(promptId: string): PromptEntry | undefined {
    const entry = this.#waiting.find((candidate) => candidate.promptId === promptId);
    this.#waiting = this.#waiting.filter((candidate) => candidate !== entry);
    return entry;
  }

  /** Removes and returns every waiting prompt, in order. */
  clearWaiting(): readonly PromptEntry[] {
    const entries = this.#waiting;
    this.#waiting = [];
    return entries;
  }
}

/** The text of a prompt for queries and events of the queue: the prompt's text blocks, joined by newlines. */
export function promptText(content: readonly Record<string, unknown>[]): string {
  return content
    .filter((block) => block.type === 'text' && typeof block.text === 'string')
    .map((block) => block.text as string)
    .join('\n');
}
