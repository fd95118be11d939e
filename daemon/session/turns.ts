// The turns of one session: prompts admitted, run one after the other on the agent, and settled exactly once each,
// on every path (end, error, cancel, removal, deadline, close, crash, shutdown).
import { randomUUID } from 'node:crypto';
import type { AgentChannel } from '../agent/agent.ts';
import { cancelTurn } from '../agent/extensions.ts';
import type { Clock, Timer } from '../contract/clock.ts';
import { fail } from '../contract/errors.ts';
import type { FeedPrompt } from '../contract/feed.ts';
import type { JsonObject } from '../contract/json-body.ts';
import { asRecord } from '../contract/json-record.ts';
import type { Limits } from '../contract/limits.ts';
import type { Log } from '../contract/log.ts';
import { asPrompt, MidTurnQueue, parseMidTurnText } from '../domain/mid-turn.ts';
import { type PromptEntry, PromptQueue } from '../domain/prompt-queue.ts';
import { effectiveDeadlineMs, parsePromptRequest } from '../domain/prompt-request.ts';
import type { Bus } from '../events/bus.ts';
import type { Permissions } from './permissions.ts';
import { RunningTurn, turnErrorOf } from './running-turn.ts';
import { type TurnError, TurnEvents } from './turn-events.ts';

export interface TurnsOptions {
  readonly sessionId: string;
  readonly bus: Bus;
  readonly channel: AgentChannel;
  readonly clock: Clock;
  readonly log: Log;
  readonly limits: Limits;
  readonly permissions: () => Permissions;
  /** Tells the coordinator of every step of a prompt. */
  readonly onPrompt: (prompt: FeedPrompt) => void;
  /** A prompt has settled and none runs or waits. */
  readonly onIdle: () => void;
}

export interface AcceptedPrompt {
  readonly promptId: string;
  /** Head of the bus before the prompt's first frame: a subscriber from here misses nothing. */
  readonly lastEventId: number;
  readonly eventEpoch: string;
}

export type MidTurnAnswer =
  | { readonly accepted: true; readonly messageId: string }
  | { readonly accepted: false; readonly reason: 'session_idle' };

/** What every prompt ends with when the session ends under it. */
export interface Abort {
  readonly running: TurnError;
  readonly waiting: TurnError;
  /** The agent failed the running prompt, so clients hear `prompt_cancelled` first. */
  readonly isAgentGone: boolean;
}

export class Turns {
  readonly #o: TurnsOptions;
  readonly #events: TurnEvents;
  readonly #queue: PromptQueue;
  readonly #midTurn = new MidTurnQueue();
  #running: RunningTurn | undefined;
  #lastError: TurnError | undefined;
  /** A prompt that was settled without the agent (deadline), until the agent lets go of it or the timer gives up. */
  #overdue: { readonly entry: PromptEntry; readonly timer: Timer } | undefined;

  constructor(options: TurnsOptions) {
    this.#o = options;
    this.#events = new TurnEvents(options);
    this.#queue = new PromptQueue(options.limits.maxPendingPromptsPerSession);
  }

  get running(): PromptEntry | undefined {
    return this.#queue.running;
  }

  get waiting(): readonly PromptEntry[] {
    return this.#queue.waiting;
  }

  /** What has yet to end, the running one first. One that was taken out while it runs is gone for clients. */
  get pending(): readonly { readonly entry: PromptEntry; readonly state: 'running' | 'queued' }[] {
    const running = this.#running?.isRemoved === true ? undefined : this.running;
    return [
      ...(running === undefined ? [] : [{ entry: running, state: 'running' } as const]),
      ...this.waiting.map((entry) => ({ entry, state: 'queued' }) as const),
    ];
  }

  get isIdle(): boolean {
    return this.#queue.size === 0;
  }

  /** Error of the newest settled turn; undefined after a turn that completed. */
  get lastError(): TurnError | undefined {
    return this.#lastError;
  }

  /** The prompts that have not settled, as the coordinator stores them. */
  feedPrompts(): readonly FeedPrompt[] {
    const { sessionId } = this.#o;
    const step = (entry: PromptEntry, state: 'running' | 'queued') => ({
      promptId: entry.promptId,
      sessionId,
      state,
      atMs: entry.queuedAtMs,
    });
    const running = this.running === undefined ? [] : [step(this.running, 'running')];
    return [...running, ...this.waiting.map((entry) => step(entry, 'queued'))];
  }

  /**
   * Admits a prompt. When it returns, the turn depends on nobody but the session.
   * @throws ApiError 400 (body), 503 `prompt_queue_full`.
   */
  submit(body: JsonObject, clientId: string | undefined): AcceptedPrompt {
    const { content, extras, deadlineMs } = parsePromptRequest(body);
    const { sessionId, limits } = this.#o;
    if (this.#queue.isFull)
      throw fail('prompt_queue_full', 'The session has too many pending prompts', {
        sessionId,
        limit: limits.maxPendingPromptsPerSession,
        pendingCount: this.#queue.size,
      });
    return this.#admit({ clientId, content, request: extras, deadlineMs });
  }

  /** Lets the agent go on with the turn that it was interrupted in; to be called when no turn runs. */
  continueLast(clientId: string | undefined): AcceptedPrompt {
    const request = { _meta: { 'qwen.daemon.continueLastTurn': true } };
    return this.#admit({ clientId, content: [], request, deadlineMs: undefined });
  }

  /** Takes a message for the running turn. @throws ApiError 400 when it is no text. */
  addMidTurn(message: unknown, clientId: string | undefined): MidTurnAnswer {
    const text = parseMidTurnText(message);
    if (this.#running === undefined) return { accepted: false, reason: 'session_idle' };
    const entry = { messageId: randomUUID(), text, clientId, queuedAtMs: this.#o.clock.nowMs() };
    this.#midTurn.add(entry);
    this.#events.midTurnAdded(entry);
    return { accepted: true, messageId: entry.messageId };
  }

  /** The agent takes the waiting messages into its turn. */
  drainMidTurn(): Readonly<Record<string, unknown>> {
    const messages = this.#midTurn.drain();
    if (messages.length > 0) this.#events.midTurnInjected(messages, this.running);
    return {
      messages: messages.map(({ text }) => text),
      items: messages.map(({ messageId: id, text }) => ({ id, text })),
      hasQueuedPrompt: this.waiting.length > 0,
    };
  }

  /**
   * Cancels the running prompt, if any; resolves when the agent has acknowledged. While a prompt that passed its deadline
   * still holds the agent, the first one behind it is the one at work for everybody else: that one ends, and never runs.
   */
  async cancel(clientId: string | undefined): Promise<void> {
    const running = this.#running;
    if (running !== undefined) {
      this.#cancelled(running, clientId);
      await this.#cancelOnAgent();
      return;
    }
    const next = this.#overdue === undefined ? undefined : this.#queue.startNext();
    if (next === undefined) return;
    this.#events.cancelled(next, clientId);
    this.#settle(next, () => this.#complete(next, 'cancelled', {}));
  }

  /**
   * Takes a prompt or mid-turn message out. The running one is cancelled, and its end follows when the agent lets go.
   * @returns false when there is none such, or it was taken out before.
   */
  remove(promptId: string, clientId: string | undefined): boolean {
    const message = this.#midTurn.remove(promptId);
    if (message !== undefined) this.#events.midTurnRemoved(message);
    const waiting = this.#queue.removeWaiting(promptId);
    if (waiting !== undefined) {
      this.#events.left(waiting, 'removed');
      this.#complete(waiting, 'cancelled', {});
      // It waited for a prompt that is overdue, of which nothing more is told.
      if (this.isIdle) this.#o.onIdle();
    }
    if (message !== undefined || waiting !== undefined) return true;
    const running = this.#running;
    if (running?.entry.promptId !== promptId || running.isRemoved) return false;
    running.markRemoved();
    this.#cancelled(running, clientId);
    this.#events.left(running.entry, 'removed');
    void this.#cancelOnAgent();
    return true;
  }

  /** Ends every prompt, each with its terminal event. The session has ended: nothing starts any more. */
  abortAll(abort: Abort): void {
    const waiting = this.#queue.clearWaiting();
    const messages = this.#midTurn.drain();
    const running = this.#running;
    if (running !== undefined) {
      if (abort.isAgentGone) this.#markFailed(running);
      this.#settle(running.entry, () => this.#failTurn(running.entry, abort.running));
    }
    for (const entry of waiting) {
      this.#failTurn(entry, abort.waiting);
      if (entry.hadToQueue) this.#events.left(entry, 'removed');
    }
    for (const message of messages) this.#events.midTurnRemoved(message);
  }

  #admit(asked: Pick<PromptEntry, 'clientId' | 'content' | 'request' | 'deadlineMs'>): AcceptedPrompt {
    const { bus, clock, limits } = this.#o;
    const lastEventId = bus.ring.head;
    const entry = this.#queue.accept({
      ...asked,
      // The agent may be held by a prompt that has ended for everybody else.
      ...(this.#overdue === undefined ? {} : { hadToQueue: true }),
      promptId: randomUUID(),
      queuedAtMs: clock.nowMs(),
      deadlineMs: effectiveDeadlineMs(limits.promptDeadlineMs, asked.deadlineMs),
    });
    this.#events.admitted(entry);
    this.#startNext();
    return { promptId: entry.promptId, lastEventId, eventEpoch: bus.epoch };
  }

  /** On a dying agent nothing starts: what waits ends with the session, whose death follows. */
  #startNext(): void {
    const { clock, channel } = this.#o;
    if (this.#overdue !== undefined || channel.isDying) return;
    const entry = this.#queue.startNext();
    if (entry === undefined) return;
    const running: RunningTurn = new RunningTurn(entry, clock, () => this.#deadlinePassed(running));
    this.#running = running;
    this.#events.started(entry);
    void this.#runOnAgent(running);
  }

  /** Never rejects: whatever the agent does becomes the turn's terminal event. */
  async #runOnAgent(running: RunningTurn): Promise<void> {
    const { channel, sessionId } = this.#o;
    const { entry } = running;
    try {
      const params = { ...entry.request, sessionId, prompt: entry.content };
      const answer = await channel.request('session/prompt', params, undefined);
      this.#settle(entry, () => this.#agentEnded(running, asRecord(answer)));
    } catch (error) {
      this.#settle(entry, () => this.#agentFailed(running, turnErrorOf(error)));
    }
    this.#agentFree(entry);
  }

  #agentEnded(running: RunningTurn, answer: Readonly<Record<string, unknown>>): void {
    // Questions that the agent did not wait for can have no answer any more.
    this.#o.permissions().cancelAll('agent_cancelled');
    const { stopReason, extras } = running.completion(answer);
    this.#complete(running.entry, stopReason, extras);
  }

  #agentFailed(running: RunningTurn, error: TurnError): void {
    this.#o.permissions().cancelAll('agent_cancelled');
    this.#markFailed(running);
    this.#failTurn(running.entry, error);
  }

  /** The next prompt waits for the agent to let go of this one, but not for ever. */
  #deadlinePassed(running: RunningTurn): void {
    const { limits, clock } = this.#o;
    const { entry } = running;
    const timer = clock.after(limits.agentKillGraceMs, () => this.#agentFree(entry));
    this.#overdue = { entry, timer };
    this.#settle(entry, () =>
      this.#agentFailed(running, {
        message: `The prompt passed its deadline of ${entry.deadlineMs} ms`,
        code: 'prompt_deadline_exceeded',
        errorKind: 'prompt_deadline_exceeded',
      }),
    );
    void this.#cancelOnAgent();
  }

  #agentFree(entry: PromptEntry): void {
    if (this.#overdue?.entry !== entry) return;
    this.#overdue.timer.cancel();
    this.#overdue = undefined;
    this.#startNext();
  }

  /** Never rejects: an agent that does not take the cancel ends the turn in its own way, or dies. */
  async #cancelOnAgent(): Promise<void> {
    const { channel, sessionId, limits, log } = this.#o;
    try {
      await cancelTurn(channel, sessionId, limits.initializeTimeoutMs);
    } catch (error) {
      log.warn({ err: error, sessionId }, 'the agent did not acknowledge a cancel');
    }
  }

  /** Runs `publishTerminal` if the prompt still runs; the one place where a running prompt ends. */
  #settle(entry: PromptEntry, publishTerminal: () => void): void {
    if (!this.#queue.settle(entry.promptId)) return;
    const isRemoved = this.#running?.isRemoved === true;
    this.#running?.settled();
    this.#running = undefined;
    publishTerminal();
    if (entry.hadToQueue && !isRemoved) this.#events.left(entry, 'completed');
    // Messages that the ended turn did not take run as prompts of their own, in order and under their own ids.
    for (const message of this.#midTurn.drain()) this.#queue.accept(asPrompt(message));
    this.#startNext();
    if (this.isIdle) this.#o.onIdle();
  }

  /** Tells once per prompt that it is cancelled, and by whom. Its questions are cancelled each time: it may ask until it ends. */
  #cancelled(running: RunningTurn, clientId: string | undefined): void {
    if (running.markCancelled()) this.#events.cancelled(running.entry, clientId);
    this.#o.permissions().cancelAll('agent_cancelled');
  }

  /** Tells it of a prompt that the agent failed, where nobody has cancelled it before. */
  #markFailed(running: RunningTurn): void {
    const { entry } = running;
    if (running.markCancelled()) this.#events.cancelled(entry, entry.clientId, 'forward_failed');
  }

  #complete(entry: PromptEntry, stopReason: string, extras: Readonly<Record<string, unknown>>): void {
    this.#lastError = undefined;
    this.#events.completed(entry, stopReason, extras);
  }

  #failTurn(entry: PromptEntry, error: TurnError): void {
    this.#lastError = error;
    this.#events.failed(entry, error);
  }
}
