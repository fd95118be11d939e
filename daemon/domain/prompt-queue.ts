// The prompts of one session: first in, first out, one running. Every accepted prompt leaves the queue exactly once.

export interface PromptEntry {
  readonly promptId: string;
  readonly clientId: string | undefined;
  /** Content blocks as the client sent them. */
  readonly content: readonly Record<string, unknown>[];
  /** The request for the agent, without the session id. */
  readonly request: Readonly<Record<string, unknown>>;
  readonly queuedAtMs: number;
  readonly deadlineMs: number | undefined;
  /** Whether it had to wait behind another prompt; such a prompt is framed by pending_prompt_* events. */
  readonly hadToQueue: boolean;
}

export class PromptQueue {
  readonly #cap: number;
  #running: PromptEntry | undefined;
  #waiting: PromptEntry[] = [];

  /** `cap` counts the running prompt; 0 = unlimited. */
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
   * Accepts a prompt, to wait while another prompt runs or waits; the caller has checked `isFull`.
   * @returns the prompt as it is queued; `hadToQueue` is judged here unless the caller gives it.
   */
  accept(prompt: Omit<PromptEntry, 'hadToQueue'> & { readonly hadToQueue?: boolean }): PromptEntry {
    const entry = { hadToQueue: this.size > 0, ...prompt };
    this.#waiting.push(entry);
    return entry;
  }

  /** Moves the first waiting prompt to running and returns it; undefined while a prompt runs, or none waits. */
  startNext(): PromptEntry | undefined {
    if (this.#running !== undefined) return undefined;
    this.#running = this.#waiting.shift();
    return this.#running;
  }

  /** Ends the running prompt. @returns false when `promptId` is not (or no longer) the running one. */
  settle(promptId: string): boolean {
    if (this.#running?.promptId !== promptId) return false;
    this.#running = undefined;
    return true;
  }

  /** Takes a waiting prompt out; undefined when it is not waiting. */
  removeWaiting(promptId: string): PromptEntry | undefined {
    const entry = this.#waiting.find((candidate) => candidate.promptId === promptId);
    this.#waiting = this.#waiting.filter((candidate) => candidate !== entry);
    return entry;
  }

  /** Takes every waiting prompt out, in order. */
  clearWaiting(): readonly PromptEntry[] {
    const entries = this.#waiting;
    this.#waiting = [];
    return entries;
  }
}

/** The text of a prompt for listings and queue events: its text blocks, joined. */
export function promptText(content: readonly Record<string, unknown>[]): string {
  return content
    .filter((block) => block.type === 'text' && typeof block.text === 'string')
    .map((block) => block.text as string)
    .join('\n');
}
