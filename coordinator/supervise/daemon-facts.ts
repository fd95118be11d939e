// What one incarnation last said of itself: for diagnostics, for liveness, and to know whether a turn is under way.
import type { FeedAgent, FeedBeat, FeedPrompt, FeedRecord } from '../../daemon/contract/feed.ts';

export class DaemonFacts {
  lastBeat: FeedBeat | null = null;
  agent: FeedAgent | null = null;
  /** Monotonic time of the last beat, at first of the moment when beats became due. */
  lastBeatAtMs: number;
  readonly #unsettledPrompts = new Set<string>();

  constructor(nowMs: number) {
    this.lastBeatAtMs = nowMs;
  }

  /** `nowMs` is monotonic. */
  take(record: FeedRecord, nowMs: number): void {
    if (record.type === 'snapshot') {
      this.agent = record.agent;
      this.#unsettledPrompts.clear();
      for (const prompt of record.prompts) this.#prompt(prompt);
    }
    if (record.type === 'snapshot' || record.type === 'beat') {
      this.lastBeat = record.beat;
      this.lastBeatAtMs = nowMs;
    }
    if (record.type === 'agent') this.agent = record.agent;
    if (record.type === 'prompt') this.#prompt(record.prompt);
  }

  /** No prompt runs or waits, and no permission was open at the last beat. */
  get isQuiet(): boolean {
    return this.#unsettledPrompts.size === 0 && (this.lastBeat?.pendingPermissions ?? 0) === 0;
  }

  #prompt({ promptId, state }: FeedPrompt): void {
    if (state === 'queued' || state === 'running') this.#unsettledPrompts.add(promptId);
    else this.#unsettledPrompts.delete(promptId);
  }
}
