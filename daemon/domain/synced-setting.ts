// One axis of a session that both the agent and the bridge may change (its model, its approval mode): what is known, and
// what each change, notification and read means. Decides only: publishing, calling and logging are the service's.

export type Action =
  /** The agent changed it unasked: published. */
  | 'promoted'
  /** A notification while a change of the bridge is under way: that change tells. */
  | 'suppressed'
  /** Not a value that clients may see. */
  | 'dropped'
  /** The agent is found to be elsewhere than was told: told. */
  | 'corrected'
  /** The agent is where it was said to be. */
  | 'converged'
  /** It could not be found out where the agent is. */
  | 'failed'
  /** Nothing to be done. */
  | 'skipped';

export interface Decision<Value> {
  readonly action: Action;
  readonly reason: string;
  /** To be told on the bus, by the one who asked for the decision and in the same tick. */
  readonly publish?: Value;
  /** The promotion may be a change that had timed out and landed after all. */
  readonly isLateSwitch?: boolean;
}

/** How a change that the bridge asked for ended. */
export type ChangeOutcome<Value> =
  | { readonly kind: 'done'; readonly value: Value }
  /** Refused in so many words: it did not land. */
  | { readonly kind: 'refused' }
  /** It may have landed, or may still: timeout, transport error, an answer that makes no sense. */
  | { readonly kind: 'unsure'; readonly isTimeout: boolean };

/** The newest that the agent has said, for as long as nothing is told after it. */
interface LastWord<Value> {
  readonly value: Value;
  readonly generation: number;
}

interface InFlight<Value> {
  /** The newest notification that was held back. */
  suppressed: { readonly value: Value } | undefined;
  /** What an earlier change has left behind is not known: even a refusal must be followed by a read. */
  isTruthInDoubt: boolean;
}

export interface SyncedSettingOptions<Value> {
  /** Whether what is said now tells nothing that was not known. */
  readonly isSame: (known: Value, said: Value) => boolean;
  /** How long after a change that timed out a promotion is suspected to be that change, in ms. */
  readonly lateSwitchWindowMs: number;
}

export class SyncedSetting<Value> {
  readonly #o: SyncedSettingOptions<Value>;
  #cached: Value | undefined;
  #generation = 0;
  #inFlight: InFlight<Value> | undefined;
  #lastWord: LastWord<Value> | undefined;
  /** A change has timed out and no read has been judged since. */
  #isAfterTimeout = false;
  #convergedAfterTimeoutAtMs: number | undefined;

  constructor(options: SyncedSettingOptions<Value>) {
    this.#o = options;
  }

  /** What was told last, or read at the start; undefined while nothing is known. */
  get cached(): Value | undefined {
    return this.#cached;
  }

  /** Counts what was told. */
  get generation(): number {
    return this.#generation;
  }

  get isInFlight(): boolean {
    return this.#inFlight !== undefined;
  }

  /** What the agent said of itself before anybody could listen. Does nothing once something was told. */
  seed(value: Value): void {
    if (this.#generation === 0) this.#cached = value;
  }

  /** Notes a publication. To be called by the publisher in the tick in which the event is on the bus. */
  published(value: Value): void {
    this.#cached = value;
    this.#generation += 1;
  }

  /** A change of the bridge goes to the agent. Changes of an axis go one after the other. */
  changeBegins(): void {
    this.#inFlight = { suppressed: undefined, isTruthInDoubt: false };
  }

  /** The agent says where it is. */
  notifiedByAgent(value: Value, nowMs: number): Decision<Value> {
    if (this.#inFlight !== undefined) {
      this.#inFlight.suppressed = { value };
      return { action: 'suppressed', reason: 'bridge_change_in_flight' };
    }
    if (this.#isCached(value)) return { action: 'skipped', reason: 'unchanged' };
    return {
      action: 'promoted',
      reason: 'changed_by_agent',
      publish: value,
      ...(this.#takeLateSwitch(nowMs) ? { isLateSwitch: true } : {}),
    };
  }

  /**
   * The change under way has ended; its value, if any, has been published. @returns undefined when only a read can tell
   * where the agent is now.
   */
  changeSettles(outcome: ChangeOutcome<Value>): Decision<Value> | undefined {
    const { suppressed, isTruthInDoubt } = this.#inFlight ?? { suppressed: undefined, isTruthInDoubt: false };
    this.#inFlight = undefined;
    this.#isAfterTimeout ||= outcome.kind === 'unsure' && outcome.isTimeout;
    if (outcome.kind === 'refused' && suppressed === undefined && !isTruthInDoubt)
      return { action: 'skipped', reason: 'change_refused' };
    if (outcome.kind === 'done') this.#heard(outcome.value);
    else if (suppressed !== undefined) this.#heard(suppressed.value);
    return undefined;
  }

  /** A change that had timed out was answered after all. @returns as `settles`. */
  changeAnsweredLate(outcome: ChangeOutcome<Value>): Decision<Value> | undefined {
    if (outcome.kind === 'refused') return { action: 'skipped', reason: 'change_refused' };
    if (outcome.kind === 'done') this.#heard(outcome.value);
    return this.mayRead() ? undefined : { action: 'skipped', reason: 'bridge_change_in_flight' };
  }

  /**
   * The agent cannot be asked where it is: then a success is the truth, and after a failure the newest notification that
   * was held back is.
   */
  cannotRead(): Decision<Value> {
    if (!this.mayRead()) return { action: 'skipped', reason: 'bridge_change_in_flight' };
    const word = this.#lastWord;
    this.#lastWord = undefined;
    if (word === undefined || word.generation !== this.#generation || this.#isCached(word.value))
      return { action: 'skipped', reason: 'no_context_method' };
    return { action: 'corrected', reason: 'last_word_of_agent', publish: word.value };
  }

  /** Whether a read would be of use now. A change under way makes its own, and is told that it must. */
  mayRead(): boolean {
    if (this.#inFlight === undefined) return true;
    this.#inFlight.isTruthInDoubt = true;
    return false;
  }

  /**
   * Judges what a read has found. `generation` is the one before the read: whatever was told meanwhile is newer, and the
   * read says nothing.
   * @param value undefined when the agent did not say.
   */
  judgeRead(value: Value | undefined, generation: number, nowMs: number): Decision<Value> {
    if (!this.mayRead()) return { action: 'skipped', reason: 'bridge_change_in_flight' };
    if (generation !== this.#generation) return { action: 'skipped', reason: 'generation_changed' };
    const isAfterTimeout = this.#isAfterTimeout;
    this.#isAfterTimeout = false;
    if (value === undefined) return { action: 'skipped', reason: 'not_told' };
    if (!this.#isCached(value)) return { action: 'corrected', reason: 'read_differs', publish: value };
    if (isAfterTimeout) this.#convergedAfterTimeoutAtMs = nowMs;
    return { action: 'converged', reason: 'read_agrees' };
  }

  #heard(value: Value): void {
    this.#lastWord = { value, generation: this.#generation };
  }

  #isCached(value: Value): boolean {
    return this.#cached !== undefined && this.#o.isSame(this.#cached, value);
  }

  #takeLateSwitch(nowMs: number): boolean {
    const atMs = this.#convergedAfterTimeoutAtMs;
    this.#convergedAfterTimeoutAtMs = undefined;
    return atMs !== undefined && nowMs - atMs <= this.#o.lateSwitchWindowMs;
  }
}
