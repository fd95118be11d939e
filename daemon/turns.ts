// The turns of one session: prompts admitted, run one after the other on the agent, and settled exactly once each,
// on every path (end, error, cancel, removal, deadline, close, crash, shutdown).
import { randomUUID } from 'node:crypto';
import { AgentCallError, type AgentChannel, AgentGone } from './agent/agent.ts';
import { cancelTurn } from './agent/extensions.ts';
import type { Bus } from './bus.ts';
import type { Clock, Timer } from './contract/clock.ts';
import { fail } from './contract/errors.ts';
import type { FeedPrompt } from './contract/feed.ts';
import type { JsonObject } from './contract/json-body.ts';
import type { Limits } from './contract/limits.ts';
import type { Log } from './contract/log.ts';
import { type PromptEntry, PromptQueue, promptText } from './domain/prompt-queue.ts';
import { effectiveDeadlineMs, parsePromptRequest } from './domain/prompt-request.ts';
import type { Permissions } from './permissions.ts';

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

export interface TurnError {
  readonly message: string;
  readonly code?: string;
  readonly errorKind?: string;
}

export interface Admission {
  readonly promptId: string;
  /** Head of the bus before the prompt's first frame: a subscriber from here misses nothing. */
  readonly lastEventId: number;
  readonly eventEpoch: string;
}

/** What became of the running prompt before the agent answered. */
interface Running {
  readonly entry: PromptEntry;
  readonly startedAtMs: number;
  cancelledAtMs: number | undefined;
  isRemoved: boolean;
  deadline: Timer | undefined;
}

export class Turns {
  readonly #o: TurnsOptions;
  readonly #queue: PromptQueue;
  #running: Running | undefined;
  #lastError: TurnError | undefined;
  /** Set while the agent has not answered a prompt that was settled without it (deadline). */
  #busyAgent: Timer | undefined;

  constructor(options: TurnsOptions) {
    this.#o = options;
    this.#queue = new PromptQueue(options.limits.maxPendingPromptsPerSession);
  }

  get running(): PromptEntry | undefined {
    return this.#queue.running;
  }

  get waiting(): readonly PromptEntry[] {
    return this.#queue.waiting;
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
  submit(body: JsonObject, clientId: string | undefined): Admission {
    const request = parsePromptRequest(body);
    const { sessionId, bus, limits, clock } = this.#o;
    if (this.#queue.isFull)
      throw fail('prompt_queue_full', 'The session has too many pending prompts', {
        sessionId,
        limit: limits.maxPendingPromptsPerSession,
        pendingCount: this.#queue.size,
      });
    const lastEventId = bus.ring.head;
    const entry = this.#queue.admit({
      promptId: randomUUID(),
      clientId,
      content: request.content,
      request: request.extras,
      queuedAtMs: clock.nowMs(),
      deadlineMs: effectiveDeadlineMs(limits.promptDeadlineMs, request.deadlineMs),
    });
    this.#tell(entry, 'queued');
    if (entry.hadToQueue) this.#publishPending('pending_prompt_added', entry, { queuedAt: entry.queuedAtMs });
    this.#startNext();
    return { promptId: entry.promptId, lastEventId, eventEpoch: bus.epoch };
  }

  /** Cancels the running prompt, if any; resolves when the agent has acknowledged. */
  async cancel(): Promise<void> {
    const running = this.#running;
    if (running === undefined) return;
    this.#markCancelled(running);
    await this.#cancelOnAgent();
  }

  /** Takes a prompt out of the queue, or cancels it when it runs. @returns false when there is no such prompt. */
  async remove(promptId: string): Promise<boolean> {
    const waiting = this.#queue.removeWaiting(promptId);
    if (waiting !== undefined) {
      this.#publishPending('pending_prompt_completed', waiting, { state: 'removed' });
      this.#complete(waiting, 'cancelled', {});
      return true;
    }
    const running = this.#running;
    if (running?.entry.promptId !== promptId) return false;
    running.isRemoved = true;
    await this.cancel();
    return true;
  }

  /** Ends every prompt with the same error: the session closes, or its agent or daemon goes away. */
  abortAll(error: {
    readonly running: TurnError;
    readonly waiting: TurnError;
    readonly isAgentGone: boolean;
  }): void {
    const waiting = this.#queue.clearWaiting();
    const running = this.#running;
    if (running !== undefined) {
      if (error.isAgentGone) this.#publishForwardFailed(running);
      this.#settle(running.entry, () => this.#failTurn(running.entry, error.running));
    }
    for (const entry of waiting) {
      this.#failTurn(entry, error.waiting);
      this.#publishPending('pending_prompt_completed', entry, { state: 'removed' });
    }
  }

  #startNext(): void {
    if (this.#busyAgent !== undefined) return;
    const entry = this.#queue.startNext();
    if (entry === undefined) return;
    const { bus, clock, sessionId } = this.#o;
    const running: Running = {
      entry,
      startedAtMs: clock.monotonicMs(),
      cancelledAtMs: undefined,
      isRemoved: false,
      deadline: undefined,
    };
    this.#running = running;
    this.#tell(entry, 'running');
    if (entry.hadToQueue) this.#publishPending('pending_prompt_started', entry, {});
    for (const content of entry.content)
      bus.publish(
        'session_update',
        {
          sessionId,
          update: { sessionUpdate: 'user_message_chunk', content, _meta: { source: 'bridge-echo' } },
        },
        this.#tags(entry),
      );
    if (entry.deadlineMs !== undefined)
      running.deadline = clock.after(entry.deadlineMs, () => this.#deadlinePassed(running));
    void this.#runOnAgent(running);
  }

  /** Never rejects: whatever the agent does becomes the turn's terminal event. */
  async #runOnAgent(running: Running): Promise<void> {
    const { channel, sessionId } = this.#o;
    const { entry } = running;
    try {
      const params = { ...entry.request, sessionId, prompt: entry.content };
      const answer = (await channel.request('session/prompt', params, undefined)) as Record<string, unknown>;
      this.#settle(entry, () => this.#agentEnded(running, answer ?? {}));
    } catch (error) {
      this.#settle(entry, () => this.#agentFailed(running, describeFailure(error)));
    }
    this.#agentFree();
  }

  #agentEnded(running: Running, answer: Record<string, unknown>): void {
    const stopReason = typeof answer.stopReason === 'string' ? answer.stopReason : 'end_turn';
    const branchPoint = (answer._meta as Record<string, unknown> | undefined)?.['qwen.branchPoint'];
    const cancelledAtMs = running.cancelledAtMs;
    // Questions that the agent did not wait for can have no answer any more.
    this.#o.permissions().cancelAll('agent_cancelled');
    this.#complete(running.entry, running.isRemoved ? 'cancelled' : stopReason, {
      ...(branchPoint === undefined ? {} : { branchPoint }),
      ...(cancelledAtMs === undefined
        ? {}
        : {
            promptCancelled: {
              cancelledAt: cancelledAtMs,
              elapsedMs: Math.round(this.#o.clock.monotonicMs() - running.startedAtMs),
            },
          }),
    });
  }

  #agentFailed(running: Running, error: TurnError): void {
    this.#o.permissions().cancelAll('agent_cancelled');
    this.#publishForwardFailed(running);
    this.#failTurn(running.entry, error);
  }

  /** The next prompt waits for the agent to let go of this one, but not for ever. */
  #deadlinePassed(running: Running): void {
    const { limits, clock } = this.#o;
    const { entry } = running;
    this.#busyAgent = clock.after(limits.agentKillGraceMs, () => this.#agentFree());
    this.#settle(entry, () =>
      this.#agentFailed(running, {
        message: `The prompt passed its deadline of ${entry.deadlineMs} ms`,
        code: 'prompt_deadline_exceeded',
        errorKind: 'prompt_deadline_exceeded',
      }),
    );
    void this.#cancelOnAgent();
  }

  #agentFree(): void {
    if (this.#busyAgent === undefined) return;
    this.#busyAgent.cancel();
    this.#busyAgent = undefined;
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
    const running = this.#running;
    running?.deadline?.cancel();
    this.#running = undefined;
    if (running?.isRemoved === true)
      this.#publishPending('pending_prompt_completed', entry, { state: 'removed' });
    publishTerminal();
    if (entry.hadToQueue && running?.isRemoved !== true)
      this.#publishPending('pending_prompt_completed', entry, { state: 'completed' });
    this.#startNext();
    if (this.isIdle) this.#o.onIdle();
  }

  #markCancelled(running: Running): void {
    if (running.cancelledAtMs !== undefined) return;
    running.cancelledAtMs = this.#o.clock.nowMs();
    this.#o.bus.publish('prompt_cancelled', { sessionId: this.#o.sessionId }, this.#tags(running.entry));
    this.#o.permissions().cancelAll('agent_cancelled');
  }

  #publishForwardFailed(running: Running): void {
    if (running.cancelledAtMs !== undefined) return;
    running.cancelledAtMs = this.#o.clock.nowMs();
    const data = { sessionId: this.#o.sessionId, reason: 'forward_failed' };
    this.#o.bus.publish('prompt_cancelled', data, this.#tags(running.entry));
  }

  #complete(entry: PromptEntry, stopReason: string, extras: Record<string, unknown>): void {
    const { bus, sessionId } = this.#o;
    this.#lastError = undefined;
    this.#tell(entry, 'completed', stopReason);
    const data = { sessionId, stopReason, promptId: entry.promptId, ...extras };
    bus.publish('turn_complete', data, this.#tags(entry));
  }

  #failTurn(entry: PromptEntry, error: TurnError): void {
    const { bus, sessionId } = this.#o;
    this.#lastError = error;
    this.#tell(entry, 'failed', error.code ?? 'turn_error');
    bus.publish('turn_error', { sessionId, ...error, promptId: entry.promptId }, this.#tags(entry));
  }

  #publishPending(type: string, entry: PromptEntry, extras: Record<string, unknown>): void {
    const text = type === 'pending_prompt_completed' ? {} : { text: promptText(entry.content) };
    const data = { sessionId: this.#o.sessionId, promptId: entry.promptId, ...text, ...extras };
    this.#o.bus.publish(type, data, this.#tags(entry));
  }

  #tags(entry: PromptEntry) {
    return { promptId: entry.promptId, originatorClientId: entry.clientId };
  }

  #tell(entry: PromptEntry, state: FeedPrompt['state'], outcome?: string): void {
    const { sessionId, clock, onPrompt } = this.#o;
    const end = outcome === undefined ? {} : { outcome };
    onPrompt({ promptId: entry.promptId, sessionId, state, atMs: clock.nowMs(), ...end });
  }
}

function describeFailure(error: unknown): TurnError {
  if (error instanceof AgentCallError) {
    const data = error.data as { readonly details?: unknown; readonly errorKind?: unknown } | undefined;
    const details = typeof data?.details === 'string' ? `${error.message}: ${data.details}` : error.message;
    const kind = typeof data?.errorKind === 'string' ? { errorKind: data.errorKind } : {};
    return { message: details, code: String(error.code), ...kind };
  }
  if (error instanceof AgentGone) return { message: error.message };
  return { message: error instanceof Error ? error.message : String(error) };
}
