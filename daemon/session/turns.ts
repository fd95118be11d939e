// The turns of one session: prompts accepted, run one after the other on the agent, and settled exactly once each, on every
// path (end, error, cancel, removal, deadline, close, crash, shutdown).
import { randomUUID } from 'node:crypto';
import type { Clock } from '../contract/clock.ts';
import { fail } from '../contract/errors.ts';
import type { FeedPrompt } from '../contract/feed.ts';
import type { JsonObject } from '../contract/json-body.ts';
import { asRecord, type JsonRecord } from '../contract/json-record.ts';
import type { Limits } from '../contract/limits.ts';
import { type PromptEntry, PromptQueue } from '../domain/prompt-queue.ts';
import { effectiveDeadlineMs, parsePromptRequest } from '../domain/prompt-request.ts';
import type { Bus } from '../events/bus.ts';
import type { AgentTurns } from './agent-turns.ts';
import { type MidTurnAnswer, MidTurnMessages } from './mid-turn-messages.ts';
import { OverduePrompt } from './overdue-prompt.ts';
import type { Permissions } from './permissions.ts';
import { RunningTurn, turnErrorOf } from './running-turn.ts';
import { type PromptListener, type TurnError, TurnEvents } from './turn-events.ts';

export interface TurnListener extends PromptListener {
  /** Called when a prompt has settled and no prompt runs or waits any more. */
  idle(): void;
}

export interface TurnsDeps {
  readonly sessionId: string;
  readonly bus: Bus;
  readonly agent: AgentTurns;
  readonly permissions: Pick<Permissions, 'cancelAll'>;
  readonly clock: Clock;
  readonly limits: Pick<Limits, 'maxPendingPromptsPerSession' | 'promptDeadlineMs' | 'agentKillGraceMs'>;
  readonly listener: TurnListener;
}

export interface AcceptedPrompt {
  readonly promptId: string;
  /** Newest event id before the prompt's first event: a stream that starts after this id misses nothing of the prompt. */
  readonly lastEventId: number;
  readonly eventEpoch: string;
}

/** How the prompts of a session end when the session itself ends. */
export interface Abort {
  readonly running: TurnError;
  readonly waiting: TurnError;
  /** The agent child has ended: clients get `prompt_cancelled` before the running prompt's terminal event. */
  readonly isAgentGone: boolean;
}

export class Turns {
  readonly #deps: TurnsDeps;
  readonly #events: TurnEvents;
  readonly #queue: PromptQueue;
  readonly #midTurn: MidTurnMessages;
  readonly #overdue: OverduePrompt;
  #running: RunningTurn | undefined;
  #lastError: TurnError | undefined;

  constructor(deps: TurnsDeps) {
    const { sessionId, bus, clock, limits, listener } = deps;
    this.#deps = deps;
    this.#events = new TurnEvents({ sessionId, bus, clock, listener });
    this.#queue = new PromptQueue(limits.maxPendingPromptsPerSession);
    this.#midTurn = new MidTurnMessages(this.#events, clock);
    this.#overdue = new OverduePrompt(clock, limits.agentKillGraceMs, () => this.#startNext());
  }

  get running(): PromptEntry | undefined {
    return this.#queue.running;
  }

  get waiting(): readonly PromptEntry[] {
    return this.#queue.waiting;
  }

  /**
   * The prompts that have not ended for clients, the running prompt first; without a running prompt that a client has removed.
   */
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

  /** Error of the newest settled turn; undefined after a turn that completed, and before the first. */
  get lastError(): TurnError | undefined {
    return this.#lastError;
  }

  /** The prompts that have not settled, as the feed reports them. */
  feedPrompts(): readonly FeedPrompt[] {
    const { sessionId } = this.#deps;
    const step = (entry: PromptEntry, state: 'running' | 'queued') => ({
      promptId: entry.promptId,
      sessionId,
      state,
      atMs: entry.queuedAtMs,
    });
    const running = this.running === undefined ? [] : [step(this.running, 'running')];
    return [...running, ...this.waiting.map((entry) => step(entry, 'queued'))];
  }

  /** Accepts a prompt, whose turn goes on if its client leaves. @throws ApiError 400 (body), 503 `prompt_queue_full`. */
  submit(body: JsonObject, clientId: string | undefined): AcceptedPrompt {
    const { content, extras, deadlineMs } = parsePromptRequest(body);
    const { sessionId, limits } = this.#deps;
    if (this.#queue.isFull)
      throw fail('prompt_queue_full', 'The session has too many pending prompts', {
        sessionId,
        limit: limits.maxPendingPromptsPerSession,
        pendingCount: this.#queue.size,
      });
    return this.#accept({ clientId, content, request: extras, deadlineMs });
  }

  /** Accepts an empty prompt, with which the agent goes on with its interrupted turn. To be called when no turn runs. */
  continueLast(clientId: string | undefined): AcceptedPrompt {
    const request = { _meta: { 'qwen.daemon.continueLastTurn': true } };
    return this.#accept({ clientId, content: [], request, deadlineMs: undefined });
  }

  /** Accepts a message for the running turn. @throws ApiError 400 when the message is not a text. */
  addMidTurn(message: unknown, clientId: string | undefined): MidTurnAnswer {
    return this.#midTurn.submit(message, clientId, this.#running !== undefined);
  }

  /** Hands the waiting mid-turn messages to the agent. @returns the answer to the agent's `craft/drainMidTurnQueue`. */
  drainMidTurn(): JsonRecord {
    return { ...this.#midTurn.takeIntoTurn(this.running), hasQueuedPrompt: this.waiting.length > 0 };
  }

  /**
   * Cancels the running prompt, if any; resolves when the agent has acknowledged. While an overdue prompt occupies the agent,
   * ends the first waiting prompt instead, which clients take for the running prompt; it never runs.
   */
  async cancel(clientId: string | undefined): Promise<void> {
    const running = this.#running;
    if (running !== undefined) {
      this.#cancelled(running, clientId);
      await this.#deps.agent.cancel();
      return;
    }
    const next = this.#overdue.isPending ? this.#queue.startNext() : undefined;
    if (next === undefined) return;
    this.#events.cancelled(next, clientId);
    this.#settle(next, () => this.#complete(next, 'cancelled', {}));
  }

  /**
   * Removes a prompt or a mid-turn message. A running prompt is cancelled; it ends when the agent lets go of it.
   * @returns false when no prompt or message with this id is pending, or the prompt was removed before.
   */
  remove(promptId: string, clientId: string | undefined): boolean {
    const wasMessage = this.#midTurn.remove(promptId);
    const waiting = this.#queue.removeWaiting(promptId);
    if (waiting !== undefined) {
      this.#events.left(waiting, 'removed');
      this.#complete(waiting, 'cancelled', {});
      // The removed prompt waited for an overdue one, which settled earlier: no other call reports the session idle.
      if (this.isIdle) this.#deps.listener.idle();
    }
    if (wasMessage || waiting !== undefined) return true;
    const running = this.#running;
    if (running?.entry.promptId !== promptId || running.isRemoved) return false;
    running.markRemoved();
    this.#cancelled(running, clientId);
    this.#events.left(running.entry, 'removed');
    void this.#deps.agent.cancel();
    return true;
  }

  /** Ends every prompt with its terminal event, because the session has ended. No further prompt starts. */
  abortAll(abort: Abort): void {
    const waiting = this.#queue.clearWaiting();
    const messages = this.#midTurn.takeAll();
    const running = this.#running;
    if (running !== undefined) {
      if (abort.isAgentGone) this.#markFailed(running);
      this.#settle(running.entry, () => this.#failTurn(running.entry, abort.running));
    }
    for (const entry of waiting) {
      this.#failTurn(entry, abort.waiting);
      if (entry.hadToQueue) this.#events.left(entry, 'removed');
    }
    this.#midTurn.reportRemoved(messages);
  }

  #accept(asked: Pick<PromptEntry, 'clientId' | 'content' | 'request' | 'deadlineMs'>): AcceptedPrompt {
    const { bus, clock, limits } = this.#deps;
    const lastEventId = bus.ring.head;
    const entry = this.#queue.accept({
      ...asked,
      // `PromptQueue` does not count an overdue prompt, which has ended for clients but occupies the agent.
      ...(this.#overdue.isPending ? { hadToQueue: true } : {}),
      promptId: randomUUID(),
      queuedAtMs: clock.nowMs(),
      deadlineMs: effectiveDeadlineMs(limits.promptDeadlineMs, asked.deadlineMs),
    });
    this.#events.accepted(entry);
    this.#startNext();
    return { promptId: entry.promptId, lastEventId, eventEpoch: bus.epoch };
  }

  /**
   * Starts the next waiting prompt, unless the agent is occupied or dying: on a dying agent, waiting prompts end with the
   * session.
   */
  #startNext(): void {
    const { clock, agent } = this.#deps;
    if (this.#overdue.isPending || agent.isDying) return;
    const entry = this.#queue.startNext();
    if (entry === undefined) return;
    const running: RunningTurn = new RunningTurn(entry, clock, () => this.#deadlinePassed(running));
    this.#running = running;
    this.#events.started(entry);
    void this.#runOnAgent(running);
  }

  /** Runs the prompt and settles it. Never rejects: a failure of the agent becomes the turn's terminal event. */
  async #runOnAgent(running: RunningTurn): Promise<void> {
    const { entry } = running;
    try {
      const answer = await this.#deps.agent.run(entry);
      this.#settle(entry, () => this.#agentEnded(running, asRecord(answer)));
    } catch (error) {
      this.#settle(entry, () => this.#agentFailed(running, turnErrorOf(error)));
    }
    this.#overdue.agentFree(entry);
  }

  #agentEnded(running: RunningTurn, answer: JsonRecord): void {
    // Cancels the questions that are still open: the agent has ended the turn without waiting for them.
    this.#deps.permissions.cancelAll('agent_cancelled');
    const { stopReason, extras } = running.completion(answer);
    this.#complete(running.entry, stopReason, extras);
  }

  #agentFailed(running: RunningTurn, error: TurnError): void {
    this.#deps.permissions.cancelAll('agent_cancelled');
    this.#markFailed(running);
    this.#failTurn(running.entry, error);
  }

  #deadlinePassed(running: RunningTurn): void {
    const { entry } = running;
    this.#overdue.begin(entry);
    this.#settle(entry, () =>
      this.#agentFailed(running, {
        message: `The prompt passed its deadline of ${entry.deadlineMs} ms`,
        code: 'prompt_deadline_exceeded',
        errorKind: 'prompt_deadline_exceeded',
      }),
    );
    void this.#deps.agent.cancel();
  }

  /** Publishes the end of `entry` if it still runs, and starts the next prompt. No other code ends a running prompt. */
  #settle(entry: PromptEntry, publishTerminal: () => void): void {
    if (!this.#queue.settle(entry.promptId)) return;
    const isRemoved = this.#running?.isRemoved === true;
    this.#running?.settled();
    this.#running = undefined;
    publishTerminal();
    if (entry.hadToQueue && !isRemoved) this.#events.left(entry, 'completed');
    for (const prompt of this.#midTurn.takeAsPrompts()) this.#queue.accept(prompt);
    this.#startNext();
    if (this.isIdle) this.#deps.listener.idle();
  }

  /** Publishes `prompt_cancelled` once per prompt. Cancels open questions each time: the agent may ask until the prompt ends. */
  #cancelled(running: RunningTurn, clientId: string | undefined): void {
    if (running.markCancelled()) this.#events.cancelled(running.entry, clientId);
    this.#deps.permissions.cancelAll('agent_cancelled');
  }

  /** Publishes `prompt_cancelled` for a prompt that the agent failed, unless a client has cancelled it before. */
  #markFailed(running: RunningTurn): void {
    const { entry } = running;
    if (running.markCancelled()) this.#events.cancelled(entry, entry.clientId, 'forward_failed');
  }

  #complete(entry: PromptEntry, stopReason: string, extras: JsonRecord): void {
    this.#lastError = undefined;
    this.#events.completed(entry, stopReason, extras);
  }

  #failTurn(entry: PromptEntry, error: TurnError): void {
    this.#lastError = error;
    this.#events.failed(entry, error);
  }
}
