// The state of the prompt that the agent works on: its deadline, whether it was cancelled or removed, and from these the fields
// of its terminal event. Publishes nothing itself.
import { AgentCallError } from '../agent/agent.ts';
import { reasonOf } from '../agent/failures.ts';
import type { Clock, Timer } from '../contract/clock.ts';
import { asRecord, type JsonRecord } from '../contract/json-record.ts';
import type { PromptEntry } from '../domain/prompt-queue.ts';
import type { TurnError } from './turn-events.ts';

export interface Completion {
  readonly stopReason: string;
  /** Further fields of `turn_complete`. */
  readonly extras: JsonRecord;
}

export class RunningTurn {
  readonly entry: PromptEntry;
  readonly #clock: Clock;
  readonly #startedAtMs: number;
  readonly #deadline: Timer | undefined;
  #cancelledAtMs: number | undefined;
  #isRemoved = false;

  /** Starts the timer of the prompt's deadline, if the prompt has a deadline. */
  constructor(entry: PromptEntry, clock: Clock, onDeadline: () => void) {
    this.entry = entry;
    this.#clock = clock;
    this.#startedAtMs = clock.monotonicMs();
    this.#deadline = entry.deadlineMs === undefined ? undefined : clock.after(entry.deadlineMs, onDeadline);
  }

  /** Whether a client has removed the prompt, which runs until the agent ends it. */
  get isRemoved(): boolean {
    return this.#isRemoved;
  }

  markRemoved(): void {
    this.#isRemoved = true;
  }

  /** Keeps the time of the cancel, for `completion`. @returns false when the turn was marked as cancelled before. */
  markCancelled(): boolean {
    if (this.#cancelledAtMs !== undefined) return false;
    this.#cancelledAtMs = this.#clock.nowMs();
    return true;
  }

  /** To be called when the turn has settled: stops the timer of its deadline. */
  settled(): void {
    this.#deadline?.cancel();
  }

  /** The fields of `turn_complete`, from the agent's answer to `session/prompt`. */
  completion(answer: JsonRecord): Completion {
    // A missing stop reason is replaced: clients ignore a terminal event without one, and would wait for the turn's end for ever.
    const said = answer.stopReason;
    const stopReason = typeof said === 'string' && said !== '' ? said : 'end_turn';
    const branchPoint = asRecord(answer._meta)['qwen.branchPoint'];
    const cancelledAt = this.#cancelledAtMs;
    const elapsedMs = Math.round(this.#clock.monotonicMs() - this.#startedAtMs);
    return {
      stopReason: this.#isRemoved ? 'cancelled' : stopReason,
      extras: {
        ...(branchPoint === undefined ? {} : { branchPoint }),
        ...(cancelledAt === undefined ? {} : { promptCancelled: { cancelledAt, elapsedMs } }),
      },
    };
  }
}

/** The fields of `turn_error`, for a `session/prompt` that failed. */
export function turnErrorOf(error: unknown): TurnError {
  const message = reasonOf(error);
  if (!(error instanceof AgentCallError)) return { message };
  const { errorKind } = asRecord(error.data);
  const kind = typeof errorKind === 'string' ? { errorKind } : {};
  return { message, code: String(error.code), ...kind };
}
