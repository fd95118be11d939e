// A setting of a session that both the agent and the bridge may change (its model, its approval mode): which value is known,
// and what each change, notification and read means. Decides only: the caller publishes, calls the agent and logs.

export type Action =
  /** The agent has changed the setting unasked: the new value is published. */
  | 'promoted'
  /** The agent's notification came while a change of the bridge is under way, whose end decides what is published. */
  | 'suppressed'
  /** The agent named a value that clients may not see. */
  | 'dropped'
  /** The agent was found to have another value than was published: its value is published. */
  | 'corrected'
  /** The agent was found to have the published value. */
  | 'converged'
  /** The agent's value could not be found out. */
  | 'failed'
  /** There is nothing to do. */
  | 'skipped';

export interface Decision<Value> {
  readonly action: Action;
  readonly reason: string;
  /** Value that the caller is to publish on the bus, in the same tick. */
  readonly publish?: Value;
  /** The value may be that of an earlier change that timed out and took effect after all. */
  readonly isLateSwitch?: boolean;
}

/** How a change that the bridge asked for ended. */
export type ChangeOutcome<Value> =
  | { readonly kind: 'done'; readonly value: Value }
  /** The agent refused the change: it took no effect. */
  | { readonly kind: 'refused' }
  /** The change may have taken effect, or still may: timeout, transport error, an answer that makes no sense. */
  | { readonly kind: 'unsure'; readonly isTimeout: boolean };

/** The newest value that the agent has said, of use as long as nothing is published after it. */
interface LastWord<Value> {
  readonly value: Value;
  /** Generation of the setting when the agent said it. */
  readonly generation: number;
}

/** A change of the bridge that is under way. */
interface InFlight<Value> {
  /** Value of the newest notification that came during the change. */
  suppressed: { readonly value: Value } | undefined;
  /** Whether a read is needed after this change, even if the agent refuses it: an earlier change has left the value unknown. */
  isTruthInDoubt: boolean;
}

export interface SyncedSettingOptions<Value> {
  /** Whether the value `said` by the agent is the one that is `known`. */
  readonly isSame: (known: Value, said: Value) => boolean;
  /**
   * For this long, in ms, after the read that follows a timed-out change, a change by the agent is suspected to be the one that
   * timed out.
   */
  readonly lateSwitchWindowMs: number;
}

export class SyncedSetting<Value> {
  readonly #options: SyncedSettingOptions<Value>;
  #cached: Value | undefined;
  #generation = 0;
  #inFlight: InFlight<Value> | undefined;
  #lastWord: LastWord<Value> | undefined;
  /** A change has timed out and no read has been judged since. */
  #isAfterTimeout = false;
  #convergedAfterTimeoutAtMs: number | undefined;

  constructor(options: SyncedSettingOptions<Value>) {
    this.#options = options;
  }

  /** The value published last, or read at the start; undefined while none is known. */
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

  /** Takes the value that the agent said at the session's start. Does nothing once a value was published. */
  seed(value: Value): void {
    if (this.#generation === 0) this.#cached = value;
  }

  /** Notes a published value. The publisher calls it in the tick in which the event goes on the bus. */
  published(value: Value): void {
    this.#cached = value;
    this.#generation += 1;
  }

  /** A change of the bridge goes to the agent. Changes of one setting go one after the other. */
  changeBegins(): void {
    this.#inFlight = { suppressed: undefined, isTruthInDoubt: false };
  }

  /** The agent notifies its value. */
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
   * The change under way has ended; its value, if there is one, has been published.
   * @returns undefined when only a read can tell the agent's value.
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

  /** The agent has answered a change that had timed out. @returns as `changeSettles`. */
  changeAnsweredLate(outcome: ChangeOutcome<Value>): Decision<Value> | undefined {
    if (outcome.kind === 'refused') return { action: 'skipped', reason: 'change_refused' };
    if (outcome.kind === 'done') this.#heard(outcome.value);
    return this.mayRead() ? undefined : { action: 'skipped', reason: 'bridge_change_in_flight' };
  }

  /**
   * Judges without a read, because the agent has no method for one: the agent's last word counts, which after a success is the
   * change's value, and after a failure the newest notification that came during the change.
   */
  cannotRead(): Decision<Value> {
    if (!this.mayRead()) return { action: 'skipped', reason: 'bridge_change_in_flight' };
    const word = this.#lastWord;
    this.#lastWord = undefined;
    if (word === undefined || word.generation !== this.#generation || this.#isCached(word.value))
      return { action: 'skipped', reason: 'no_context_method' };
    return { action: 'corrected', reason: 'last_word_of_agent', publish: word.value };
  }

  /** Whether a read would be of use now. A change under way is instead marked to make a read of its own. */
  mayRead(): boolean {
    if (this.#inFlight === undefined) return true;
    this.#inFlight.isTruthInDoubt = true;
    return false;
  }

  /**
   * Judges the value that a read has found.
   * @param value undefined when the agent did not say.
   * @param generation the generation before the read: a value that was published meanwhile is newer than what was read.
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
