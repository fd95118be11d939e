// The prompt that the agent works on: its deadline, its cancellation or removal meanwhile, and the terminal event's fields for its
// end. Publishes nothing itself.
import { AgentCallError } from '../agent/agent.ts';
import { reasonOf } from '../agent/failures.ts';
import type { Clock, Timer } from '../contract/clock.ts';
import { asRecord, type JsonRecord } from '../contract/json-record.ts';
import type { PromptEntry } from '../domain/prompt-queue.ts';
import type { TurnError } from './turn-events.ts';

export interface Completion {
  readonly stopReason: string;
  /** Further fields of the terminal event. */
  readonly extras: JsonRecord;
}

export class RunningTurn {
  readonly entry: PromptEntry;
  readonly #clock: Clock;
  readonly #startedAtMs: number;
  readonly #deadline: Timer | undefined;
  #cancelledAtMs: number | undefined;
  #isRemoved = false;

  /** Starts the prompt's deadline, if it has one. */
  constructor(entry: PromptEntry, clock: Clock, onDeadline: () => void) {
    this.entry = entry;
    this.#clock = clock;
    this.#startedAtMs = clock.monotonicMs();
    this.#deadline = entry.deadlineMs === undefined ? undefined : clock.after(entry.deadlineMs, onDeadline);
  }

  /** Whether a client has removed the prompt. */
  get isRemoved(): boolean {
    return this.#isRemoved;
  }

  markRemoved(): void {
    this.#isRemoved = true;
  }

  /** @returns false when the turn was marked as cancelled before. */
  markCancelled(): boolean {
    if (this.#cancelledAtMs !== undefined) return false;
    this.#cancelledAtMs = this.#clock.nowMs();
    return true;
  }

  /** The turn is settled: its deadline no longer applies. */
  settled(): void {
    this.#deadline?.cancel();
  }

  /** The turn's end, from the agent's answer to the prompt. */
  completion(answer: JsonRecord): Completion {
    // Clients ignore a terminal event without a stop reason, and would wait for the turn's end for ever.
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

/** The error of a turn whose prompt the agent did not answer. */
export function turnErrorOf(error: unknown): TurnError {
  const message = reasonOf(error);
  if (!(error instanceof AgentCallError)) return { message };
  const { errorKind } = asRecord(error.data);
  const kind = typeof errorKind === 'string' ? { errorKind } : {};
  return { message, code: String(error.code), ...kind };
}
