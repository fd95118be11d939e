// Keeps one synced setting of a session (its model, its approval mode) in step with the agent: sends changes to the agent one
// after the other, reads the agent's value where a change may have ended in another value, and logs every decision. The rules
// that decide are in domain/synced-setting.ts.
import { AgentCallError, type AgentChannel, AgentTimeout, INTERNAL_ERROR } from '../agent/agent.ts';
import { canReadContext, readContext } from '../agent/extensions.ts';
import type { Clock, Timer } from '../contract/clock.ts';
import { fail, messageOf } from '../contract/errors.ts';
import { asRecord, type JsonRecord } from '../contract/json-record.ts';
import type { Limits } from '../contract/limits.ts';
import type { Log } from '../contract/log.ts';
import type { EventTags } from '../domain/frame.ts';
import type { Said } from '../domain/setting-values.ts';
import { type ChangeOutcome, type Decision, SyncedSetting } from '../domain/synced-setting.ts';
import type { Bus } from '../events/bus.ts';

const LATE_SWITCH_WINDOW_MS = 30_000;

/** The parts of its session that a synced setting uses. */
export interface SettingSyncSession {
  readonly sessionId: string;
  readonly bus: Bus;
  readonly channel: AgentChannel;
  readonly clock: Clock;
  readonly log: Log;
  readonly limits: Pick<Limits, 'initializeTimeoutMs' | 'contextReadTimeoutMs'>;
}

export interface SettingSyncDeps<Value> {
  readonly name: 'model' | 'mode';
  readonly session: SettingSyncSession;
  /** Whether the value `said` by the agent counts as equal to the `known` value. */
  readonly isSame: (known: Value, said: Value) => boolean;
  /** Extracts the setting's value from a state that the agent reports. */
  readonly valueIn: (state: JsonRecord) => Said<Value>;
  /** Publishes a value that the agent has: with the tags of the running turn when the agent changed it, else without tags. */
  readonly publish: (value: Value, tags: EventTags) => void;
  /** Called when a read has found that the agent has the known value. */
  readonly agreed?: () => void;
}

/** A change of the setting that a client, or the creation of a session, asks for. */
export interface Change<Value, Answer> {
  /** The agent's method for the change, named in the error of a timeout. */
  readonly method: string;
  /** Calls the agent, without a deadline: a late answer still says which value the agent has. */
  readonly ask: () => Promise<Answer>;
  /** Extracts the value from the agent's answer to `ask`. @throws UnusableAnswer */
  readonly valueIn: (answer: Answer) => Value;
  /** Publishes the value. The change is under way until the returned promise resolves. */
  readonly done: (value: Value, answer: Answer) => Promise<void> | void;
  readonly failed?: (error: unknown) => void;
}

export class SettingSync<Value> {
  readonly setting: SyncedSetting<Value>;
  readonly #deps: SettingSyncDeps<Value>;
  /** Settles when the newest requested change has settled; the next change waits for that. */
  #last: Promise<unknown> = Promise.resolve();
  /** Set while the agent's value is being read; `again` when another change has settled since the read began. */
  #reading: { again: boolean } | undefined;

  constructor(deps: SettingSyncDeps<Value>) {
    this.#deps = deps;
    this.setting = new SyncedSetting({ isSame: deps.isSame, lateSwitchWindowMs: LATE_SWITCH_WINDOW_MS });
  }

  /**
   * Takes the initial value from the agent's answer to `session/new`, `session/load` or `session/resume`.
   * @returns undefined where the answer has no usable value.
   */
  seed(state: JsonRecord): Value | undefined {
    const said = this.#deps.valueIn(state);
    if (said.kind !== 'value') return undefined;
    this.setting.seed(said.value);
    return said.value;
  }

  /**
   * Makes a change, after every change that was requested earlier.
   * @returns the agent's answer, once its value has been published.
   * @throws AgentCallError, AgentGone, AgentTimeout, UnusableAnswer; ApiError 404 when the session has ended meanwhile.
   */
  change<Answer>(change: Change<Value, Answer>): Promise<Answer> {
    const turn = this.#last.then(() => this.#change(change));
    // The next change waits for this one, however it ends; the failure goes to this change's own caller.
    this.#last = turn.catch(() => undefined);
    return turn;
  }

  /**
   * Handles a notification in which the agent names its value.
   * @param tags of the running turn, for the event of a change that the agent made.
   */
  notified(said: Said<Value>, tags: EventTags): void {
    const { clock } = this.#deps.session;
    if (said.kind === 'value')
      this.#decide(this.setting.notifiedByAgent(said.value, clock.monotonicMs()), tags);
    else this.#decide({ action: 'dropped', reason: said.kind === 'nothing' ? 'no_value' : said.reason });
  }

  /** Starts a read of the agent's value, because the agent may have changed it without a notification. */
  verify(): void {
    this.#settle(undefined);
  }

  async #change<Answer>(change: Change<Value, Answer>): Promise<Answer> {
    const { setting } = this;
    const { sessionId } = this.#deps.session;
    if (this.#isGone) throw fail('session_not_found', 'The session has ended', { sessionId });
    setting.changeBegins();
    const asked = change.ask();
    try {
      const answer = await this.#inTime(asked, change.method);
      const value = change.valueIn(answer);
      await change.done(value, answer);
      this.#settle(setting.changeSettles({ kind: 'done', value }));
      return answer;
    } catch (error) {
      if (error instanceof AgentTimeout) this.#listenOn(asked, change);
      change.failed?.(error);
      this.#settle(setting.changeSettles(outcomeOf(error)));
      throw error;
    }
  }

  async #inTime<Answer>(asked: Promise<Answer>, method: string): Promise<Answer> {
    const { clock, limits } = this.#deps.session;
    const timeoutMs = limits.initializeTimeoutMs;
    let timer: Timer | undefined;
    const late = new Promise<never>((_resolve, reject) => {
      timer = clock.after(timeoutMs, () => reject(new AgentTimeout(method, timeoutMs)));
    });
    try {
      return await Promise.race([asked, late]);
    } finally {
      timer?.cancel();
    }
  }

  /** Waits for the late answer to a change that timed out: not every agent notifies of a change that it was asked for. */
  #listenOn<Answer>(asked: Promise<Answer>, { valueIn }: Change<Value, Answer>): void {
    asked.then(
      (answer) => this.#settle(this.setting.changeAnsweredLate(valueOrUnsure(answer, valueIn))),
      (error: unknown) => this.#settle(this.setting.changeAnsweredLate(outcomeOf(error))),
    );
  }

  #settle(decision: Decision<Value> | undefined): void {
    if (decision !== undefined) this.#decide(decision);
    else if (this.#reading !== undefined) this.#reading.again = true;
    else void this.#readUntilKnown();
  }

  /** Reads the agent's value, and again after each read during which a change has settled. Never rejects. */
  async #readUntilKnown(): Promise<void> {
    const reading = { again: true };
    this.#reading = reading;
    while (reading.again) {
      reading.again = false;
      await this.#readFresh();
    }
    this.#reading = undefined;
  }

  /**
   * Reads the agent's value and carries out the decision. Repeats the read once if a value was published meanwhile, and once if
   * the read failed.
   */
  async #readFresh(): Promise<void> {
    let failures = 0;
    let reruns = 0;
    for (;;) {
      const obstacle = this.#obstacle();
      if (obstacle !== undefined) {
        this.#decide(obstacle);
        return;
      }
      try {
        const decision = await this.#readOnce();
        this.#decide(decision);
        if (decision.reason !== 'generation_changed' || reruns === 1) return;
        reruns += 1;
      } catch (error) {
        if (this.#isGone) continue;
        failures += 1;
        const reason = messageOf(error);
        if (failures === 1) this.#decide({ action: 'skipped', reason: `read_failed_once: ${reason}` });
        else {
          this.#decide({ action: 'failed', reason });
          return;
        }
      }
    }
  }

  #obstacle(): Decision<Value> | undefined {
    if (this.#isGone) return { action: 'skipped', reason: 'session_gone' };
    if (!canReadContext(this.#deps.session.channel)) return this.setting.cannotRead();
    return this.setting.mayRead() ? undefined : { action: 'skipped', reason: 'bridge_change_in_flight' };
  }

  async #readOnce(): Promise<Decision<Value>> {
    const { setting } = this;
    const before = setting.generation;
    const said = await this.#read();
    if (this.#isGone) return { action: 'skipped', reason: 'session_gone' };
    if (said === undefined) return setting.cannotRead();
    if (said.kind === 'unusable') return { action: 'dropped', reason: said.reason };
    const nowMs = this.#deps.session.clock.monotonicMs();
    return setting.judgeRead(said.kind === 'value' ? said.value : undefined, before, nowMs);
  }

  /**
   * Reads the setting's value from the agent.
   * @returns undefined when the agent lacks the method to read its state.
   * @throws AgentCallError, AgentGone, AgentTimeout
   */
  async #read(): Promise<Said<Value> | undefined> {
    const { channel, sessionId, limits } = this.#deps.session;
    const context = await readContext(channel, sessionId, limits.contextReadTimeoutMs);
    return context === undefined ? undefined : this.#deps.valueIn(asRecord(asRecord(context).state));
  }

  /** Whether the session has ended or its agent child is ending: then the agent is not called any more. */
  get #isGone(): boolean {
    const { bus, channel } = this.#deps.session;
    return bus.hasEnded || channel.isDying;
  }

  /** Carries a decision out and logs it; above debug level only if the decision publishes a value or reports a failure. */
  #decide(decision: Decision<Value>, tags: EventTags = {}): void {
    const { name, session, publish } = this.#deps;
    const { log, sessionId } = session;
    const { action, reason, publish: value } = decision;
    const fields = { sessionId, axis: name, action, reason, ...(value === undefined ? {} : { value }) };
    const level = action === 'failed' ? 'warn' : value === undefined ? 'debug' : 'info';
    log[level](fields, `${name} ${action}`);
    if (decision.isLateSwitch === true)
      log.warn(fields, 'possible late switch: a change that timed out may have taken effect');
    if (value !== undefined) publish(value, tags);
    if (action === 'converged') this.#deps.agreed?.();
  }
}

/** How a change that failed has ended. After a JSON-RPC "internal error" the agent may have made the change all the same. */
function outcomeOf(
  error: unknown,
): { readonly kind: 'refused' } | { readonly kind: 'unsure'; isTimeout: boolean } {
  if (error instanceof AgentCallError && error.code !== INTERNAL_ERROR) return { kind: 'refused' };
  return { kind: 'unsure', isTimeout: error instanceof AgentTimeout };
}

function valueOrUnsure<Value, Answer>(
  answer: Answer,
  valueIn: (answer: Answer) => Value,
): ChangeOutcome<Value> {
  try {
    return { kind: 'done', value: valueIn(answer) };
  } catch (error) {
    return outcomeOf(error);
  }
}
