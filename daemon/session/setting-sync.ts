// One axis of the side channel at work: changes go to the agent one after the other, each followed by a fresh read where
// it may have left the agent somewhere else, and every decision is logged. What is decided is the domain's.
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

/** The session that an axis belongs to. */
export interface SettingSyncSession {
  readonly sessionId: string;
  readonly workspaceCwd: string;
  readonly bus: Bus;
  readonly channel: AgentChannel;
  readonly clock: Clock;
  readonly log: Log;
  readonly limits: Pick<Limits, 'initializeTimeoutMs' | 'contextReadTimeoutMs'>;
  /** Whose doing a change of the agent is: prompt and client of the running turn. */
  readonly turnTags: () => EventTags;
  /** A client has switched the model: agents keep the one that was chosen last as the workspace's default. */
  readonly onModelChosen: (modelId: string, clientId: string | undefined) => void;
}

export interface SettingSyncOptions<Value> {
  readonly name: 'model' | 'mode';
  readonly session: SettingSyncSession;
  /** Whether what is said now tells nothing that was not known. */
  readonly isSame: (known: Value, said: Value) => boolean;
  /** Where a state of the agent says the value. */
  readonly valueIn: (state: JsonRecord) => Said<Value>;
  /** Tells a value that a decision names: on behalf of the running turn when the agent changed it, else of nobody. */
  readonly publish: (value: Value, tags: EventTags) => void;
  /** A read has found the agent where it was said to be. */
  readonly agreed?: () => void;
}

/** A change that a client, or the creation of a session, asks for. */
export interface Change<Value, Answer> {
  /** For the message of a timeout. */
  readonly method: string;
  /** Calls the agent, without a deadline: a late answer is of use. */
  readonly ask: () => Promise<Answer>;
  /** @throws UnusableAnswer */
  readonly valueIn: (answer: Answer) => Value;
  /** Tells the value; the change is still under way. */
  readonly done: (value: Value, answer: Answer) => Promise<void> | void;
  readonly failed?: (error: unknown) => void;
}

export class SettingSync<Value> {
  readonly setting: SyncedSetting<Value>;
  readonly #o: SettingSyncOptions<Value>;
  #last: Promise<unknown> = Promise.resolve();
  /** A read is under way; `again` when another change has settled since it began. */
  #reading: { again: boolean } | undefined;

  constructor(options: SettingSyncOptions<Value>) {
    this.#o = options;
    this.setting = new SyncedSetting({ isSame: options.isSame, lateSwitchWindowMs: LATE_SWITCH_WINDOW_MS });
  }

  /** Takes what the agent says of itself when the session begins. @returns undefined where it says nothing usable. */
  seed(state: JsonRecord): Value | undefined {
    const said = this.#o.valueIn(state);
    if (said.kind !== 'value') return undefined;
    this.setting.seed(said.value);
    return said.value;
  }

  /**
   * Makes a change after every change asked for before. @returns the agent's answer, once its value has been told.
   * @throws AgentCallError, AgentGone, AgentTimeout, UnusableAnswer; ApiError 404 when the session has ended meanwhile.
   */
  change<Answer>(change: Change<Value, Answer>): Promise<Answer> {
    const turn = this.#last.then(() => this.#change(change));
    // The next change waits for this one, however it ends; its own caller hears of the failure.
    this.#last = turn.catch(() => undefined);
    return turn;
  }

  /** The agent says where it is. */
  notified(said: Said<Value>): void {
    const { clock } = this.#o.session;
    if (said.kind === 'value') this.#decide(this.setting.notifiedByAgent(said.value, clock.monotonicMs()));
    else this.#decide({ action: 'dropped', reason: said.kind === 'nothing' ? 'no_value' : said.reason });
  }

  /** Reads where the agent is, because it may have moved without a word. */
  verify(): void {
    this.#settle(undefined);
  }

  async #change<Answer>(change: Change<Value, Answer>): Promise<Answer> {
    const { setting } = this;
    const { sessionId } = this.#o.session;
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
    const { clock, limits } = this.#o.session;
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

  /** The answer of a change that timed out tells when it landed: not every agent notifies of what it was asked for. */
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

  /** Never rejects. One read for each settled change, or for several that have settled during one read. */
  async #readUntilKnown(): Promise<void> {
    const reading = { again: true };
    this.#reading = reading;
    while (reading.again) {
      reading.again = false;
      await this.#readFresh();
    }
    this.#reading = undefined;
  }

  /** One read, run again once where something was told meanwhile, and tried again once where it failed. */
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
    if (!canReadContext(this.#o.session.channel)) return this.setting.cannotRead();
    return this.setting.mayRead() ? undefined : { action: 'skipped', reason: 'bridge_change_in_flight' };
  }

  async #readOnce(): Promise<Decision<Value>> {
    const { setting } = this;
    const before = setting.generation;
    const said = await this.#read();
    if (this.#isGone) return { action: 'skipped', reason: 'session_gone' };
    if (said === undefined) return setting.cannotRead();
    if (said.kind === 'unusable') return { action: 'dropped', reason: said.reason };
    const nowMs = this.#o.session.clock.monotonicMs();
    return setting.judgeRead(said.kind === 'value' ? said.value : undefined, before, nowMs);
  }

  /** @returns undefined when the agent cannot be asked. @throws AgentCallError, AgentGone, AgentTimeout */
  async #read(): Promise<Said<Value> | undefined> {
    const { channel, sessionId, limits } = this.#o.session;
    const context = await readContext(channel, sessionId, limits.contextReadTimeoutMs);
    return context === undefined ? undefined : this.#o.valueIn(asRecord(asRecord(context).state));
  }

  /** The session or its agent has ended: nothing is asked any more. */
  get #isGone(): boolean {
    const { bus, channel } = this.#o.session;
    return bus.hasEnded || channel.isDying;
  }

  /** Every decision is logged; by default only those that clients hear of, or that are a failure, are seen. */
  #decide(decision: Decision<Value>): void {
    const { name, session, publish } = this.#o;
    const { log, sessionId, turnTags } = session;
    const { action, reason, publish: value } = decision;
    const fields = { sessionId, axis: name, action, reason, ...(value === undefined ? {} : { value }) };
    const level = action === 'failed' ? 'warn' : value === undefined ? 'debug' : 'info';
    log[level](fields, `${name} ${action}`);
    if (decision.isLateSwitch === true)
      log.warn(fields, 'possible late switch: a change that timed out may have taken effect');
    if (value !== undefined) publish(value, action === 'promoted' ? turnTags() : {});
    if (action === 'converged') this.#o.agreed?.();
  }
}

/** A JSON-RPC "internal error" says nothing of what was done before it. */
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
