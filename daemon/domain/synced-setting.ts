// A synced setting of a session (its model, its approval mode): the value that was published last, and the decision that
// follows from each change, notification and read. Decides only: the caller publishes, calls the agent and logs.

export type Action =
  /** The agent has changed the setting by itself: the new value is published. */
  | 'promoted'
  /** The agent's notification came during a change that the daemon had asked for: the end of the change decides. */
  | 'suppressed'
  /** The agent named a value that must not be published to clients: nothing is published. */
  | 'dropped'
  /** The agent has another value than the published one: the agent's value is published. */
  | 'corrected'
  /** A read found that the agent has the published value. */
  | 'converged'
  /** The agent's value could not be read. */
  | 'failed'
  /** There is nothing to do. */
  | 'skipped';

export interface Decision<Value> {
  readonly action: Action;
  readonly reason: string;
  /** The value that the caller is to publish on the bus, in the same tick; absent when nothing is to be published. */
  readonly publish?: Value;
  /** Whether `publish` may be the value of an earlier change that timed out and took effect after all. */
  readonly isLateSwitch?: boolean;
}

/** How a change that the daemon asked for ended. */
export type ChangeOutcome<Value> =
  | { readonly kind: 'done'; readonly value: Value }
  /** The agent refused the change: it took no effect. */
  | { readonly kind: 'refused' }
  /** The change may have taken effect, or still may: timeout, transport error, an answer that makes no sense. */
  | { readonly kind: 'unsure'; readonly isTimeout: boolean };

/** The newest value that the agent has named; valid until another value is published. */
interface LastWord<Value> {
  readonly value: Value;
  /** `SyncedSetting.generation` when the agent named the value. */
  readonly generation: number;
}

/** A change that the daemon asked for and that has not ended yet. */
interface InFlight<Value> {
  /** Value of the newest notification that came during the change. */
  suppressed: { readonly value: Value } | undefined;
  /** Whether the value has to be read after this change even if the agent refuses the change, because a read was put off. */
  isTruthInDoubt: boolean;
}

export interface SyncedSettingOptions<Value> {
  /** Whether the value `said` by the agent counts as equal to the `known` value. */
  readonly isSame: (known: Value, said: Value) => boolean;
  /**
   * For this long, in ms, after the read that follows a timed-out change, a change by the agent is marked as perhaps the
   * timed-out change that took effect late.
   */
  readonly lateSwitchWindowMs: number;
}

export class SyncedSetting<Value> {
  readonly #options: SyncedSettingOptions<Value>;
  #cached: Value | undefined;
  #generation = 0;
  #inFlight: InFlight<Value> | undefined;
  #lastWord: LastWord<Value> | undefined;
  /** Whether a change has timed out, and `judgeRead` was not called since. */
  #isAfterTimeout = false;
  #convergedAfterTimeoutAtMs: number | undefined;

  constructor(options: SyncedSettingOptions<Value>) {
    this.#options = options;
  }

  /** The value published last, or before the first publication the one given to `seed`; undefined before either. */
  get cached(): Value | undefined {
    return this.#cached;
  }

  /** Number of values published so far. */
  get generation(): number {
    return this.#generation;
  }

  get isInFlight(): boolean {
    return this.#inFlight !== undefined;
  }

  /** Sets the value that the agent named when the session was made. Does nothing once a value was published. */
  seed(value: Value): void {
    if (this.#generation === 0) this.#cached = value;
  }

  /** Notes a published value. To be called in the tick in which the event is published on the bus. */
  published(value: Value): void {
    this.#cached = value;
    this.#generation += 1;
  }

  /** Notes that a change is being sent to the agent. Changes of one setting are sent one after the other. */
  changeBegins(): void {
    this.#inFlight = { suppressed: undefined, isTruthInDoubt: false };
  }

  /** Decides what follows from a notification in which the agent names its value. */
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
   * Decides what follows from the end of the change under way. The caller has published the change's value, if it has one.
   * @returns undefined when the caller has to read the value from the agent.
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

  /** Decides what follows from the agent's answer to a change that had timed out. @returns as `changeSettles`. */
  changeAnsweredLate(outcome: ChangeOutcome<Value>): Decision<Value> | undefined {
    if (outcome.kind === 'refused') return { action: 'skipped', reason: 'change_refused' };
    if (outcome.kind === 'done') this.#heard(outcome.value);
    return this.mayRead() ? undefined : { action: 'skipped', reason: 'bridge_change_in_flight' };
  }

  /**
   * Replaces `judgeRead` for an agent without a method to read the setting. The value that the agent named last counts: after a
   * successful change the change's value, after a failed one the value of the newest notification during the change.
   */
  cannotRead(): Decision<Value> {
    if (!this.mayRead()) return { action: 'skipped', reason: 'bridge_change_in_flight' };
    const word = this.#lastWord;
    this.#lastWord = undefined;
    if (word === undefined || word.generation !== this.#generation || this.#isCached(word.value))
      return { action: 'skipped', reason: 'no_context_method' };
    return { action: 'corrected', reason: 'last_word_of_agent', publish: word.value };
  }

  /** Whether a read makes sense now. While a change is under way: false, and the change is marked to be followed by a read. */
  mayRead(): boolean {
    if (this.#inFlight === undefined) return true;
    this.#inFlight.isTruthInDoubt = true;
    return false;
  }

  /**
   * Decides what follows from a read of the agent's value.
   * @param value undefined when the agent's answer did not have it.
   * @param generation `generation` before the read: a value that was published during the read is newer than the read value.
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
    return this.#cached !== undefined && this.#options.isSame(this.#cached, value);
  }

  #takeLateSwitch(nowMs: number): boolean {
    const atMs = this.#convergedAfterTimeoutAtMs;
    this.#convergedAfterTimeoutAtMs = undefined;
    return atMs !== undefined && nowMs - atMs <= this.#options.lateSwitchWindowMs;
  }
}
