// The permission questions of one session: asked by the agent, published on the bus, decided by votes. The agent gets exactly one
// answer to every question, whichever way the question is resolved.
import { randomUUID } from 'node:crypto';
import type { Params } from '../agent/agent.ts';
import type { Clock, Timer } from '../contract/clock.ts';
import { fail, failPlain } from '../contract/errors.ts';
import type { JsonObject } from '../contract/json-body.ts';
import { asRecord } from '../contract/json-record.ts';
import type { Limits } from '../contract/limits.ts';
import type { Peer, PermissionPolicy } from '../contract/wire.ts';
import type { ClientRegistry } from '../domain/clients.ts';
import {
  CANCEL_SENTINEL,
  PermissionBook,
  type PermissionOption,
  type Question,
} from '../domain/permission-book.ts';
import { judgeVote, type PermissionOutcome } from '../domain/permission-policy.ts';
import type { PromptEntry } from '../domain/prompt-queue.ts';
import type { Bus } from '../events/bus.ts';

export interface PermissionSettings {
  readonly policy: PermissionPolicy;
  readonly consensusQuorum: number | undefined;
  /** Prefix of each request id: `<workspaceId>.` in a coordinator's daemon, so that a vote names its workspace; else empty. */
  readonly requestIdPrefix: string;
}

export interface PermissionsDeps {
  readonly sessionId: string;
  readonly bus: Bus;
  readonly clients: ClientRegistry;
  readonly clock: Clock;
  readonly limits: Pick<Limits, 'maxPendingPermissions' | 'permissionResponseTimeoutMs'>;
  readonly settings: PermissionSettings;
}

/**
 * Why a question was cancelled, as the agent is informed of it. A client's vote to cancel has the reason of a cancelled turn,
 * `agent_cancelled`.
 */
export type CancelReason = 'timeout' | 'agent_cancelled' | 'session_closed';

export interface Voter {
  readonly clientId: string | undefined;
  readonly peer: Peer;
}

/** An open question: `answer` answers the agent's waiting request, `timeout` cancels the question. */
interface Waiting {
  readonly answer: (answer: Params) => void;
  readonly timeout: Timer | undefined;
}

export class Permissions {
  readonly #deps: PermissionsDeps;
  readonly #book = new PermissionBook();
  readonly #waiting = new Map<string, Waiting>();

  constructor(deps: PermissionsDeps) {
    this.#deps = deps;
  }

  get openCount(): number {
    return this.#book.openCount;
  }

  open(): readonly Question[] {
    return this.#book.open();
  }

  /** Whether the session has a question with this request id: open, or resolved and still remembered. */
  knows(requestId: string): boolean {
    return this.#book.find(requestId) !== undefined || this.#book.resolvedOutcome(requestId) !== undefined;
  }

  /**
   * Publishes a permission question of the agent.
   * @param prompt the running prompt, to which the question belongs; undefined where no turn runs.
   * @returns the answer for the agent, once the question is resolved; at once `cancelled` where `maxPendingPermissions` questions
   *   are open or the question cannot be serialised.
   */
  ask(params: Params, prompt: PromptEntry | undefined): Promise<Params> {
    const { bus, clock, limits, settings, clients, sessionId } = this.#deps;
    if (this.#book.openCount >= limits.maxPendingPermissions) return Promise.resolve(cancelledAnswer());
    const question: Question = {
      requestId: `${settings.requestIdPrefix}${randomUUID()}`,
      toolCall: asRecord(params.toolCall),
      options: parseOptions(params.options),
      promptId: prompt?.promptId,
      createdAtMs: clock.nowMs(),
      ballot: { originator: prompt?.clientId, voters: new Set(clients.ids()), votes: new Map() },
    };
    const { requestId, toolCall, options } = question;
    const eventId = bus.publish(
      'permission_request',
      { requestId, sessionId, toolCall, options },
      { promptId: question.promptId, originatorClientId: prompt?.clientId },
    );
    // The bus dropped the event, so no client can see the question: it would wait for ever.
    if (eventId === undefined) return Promise.resolve(cancelledAnswer());
    this.#book.add(question);
    const timeout = this.#armTimeout(requestId);
    return new Promise((answer) => this.#waiting.set(requestId, { answer, timeout }));
  }

  /**
   * Counts a client's vote on a question, with the checks in the protocol's order.
   * @throws ApiError 404 (unknown question, or resolved before), 400 (client id, option, body), 403 (policy), 500 (the agent
   *   offered an option with the reserved id).
   */
  vote(requestId: string, body: JsonObject, voter: Voter): void {
    const { sessionId, clients, bus } = this.#deps;
    const choice = parseOutcome(body.outcome);
    if (!this.knows(requestId)) throw unknownRequest(requestId, sessionId);
    if (voter.clientId !== undefined && !clients.has(voter.clientId))
      throw fail('invalid_client_id', 'Client id is not registered on this session', {
        sessionId,
        clientId: voter.clientId,
      });
    if (choice.outcome === 'selected' && choice.optionId === CANCEL_SENTINEL)
      throw invalidOption(requestId, choice.optionId);
    const question = this.#book.find(requestId);
    if (question === undefined) {
      const outcome = this.#book.resolvedOutcome(requestId);
      bus.publish('permission_already_resolved', { requestId, sessionId, outcome });
      throw unknownRequest(requestId, sessionId);
    }
    this.#checkSentinel(question);
    if (choice.outcome === 'cancelled')
      this.#resolve(requestId, choice, voter.clientId, cancelledAnswer('agent_cancelled'));
    else this.#select(question, choice.optionId, voter, answerExtras(body));
  }

  /** Cancels every open question. */
  cancelAll(reason: CancelReason): void {
    for (const question of this.#book.open())
      this.#resolve(question.requestId, { outcome: 'cancelled' }, undefined, cancelledAnswer(reason));
  }

  #select(question: Question, optionId: string, voter: Voter, extras: Params): void {
    const { bus, sessionId, settings } = this.#deps;
    const { requestId, ballot } = question;
    if (!question.options.some((option) => option.optionId === optionId))
      throw invalidOption(requestId, optionId);
    const verdict = judgeVote(settings.policy, ballot, { ...voter, optionId }, settings.consensusQuorum);
    switch (verdict.kind) {
      case 'decide':
        this.#resolve(requestId, { outcome: 'selected', optionId }, voter.clientId, {
          ...extras,
          outcome: { outcome: 'selected', optionId },
        });
        return;
      case 'record':
        if (voter.clientId !== undefined) this.#book.recordVote(requestId, voter.clientId, optionId);
        bus.publish(
          'permission_partial_vote',
          { requestId, sessionId, ...verdict.standing },
          { originatorClientId: voter.clientId },
        );
        return;
      case 'repeat':
        return;
      case 'refuse':
        this.#refuse(requestId, voter.clientId, verdict.reason);
    }
  }

  #refuse(requestId: string, clientId: string | undefined, reason: string): never {
    const { bus, sessionId } = this.#deps;
    const who = clientId === undefined ? {} : { clientId };
    bus.publish(
      'permission_forbidden',
      { requestId, sessionId, ...who, reason },
      { originatorClientId: clientId },
    );
    throw fail('permission_forbidden', `The permission policy refuses this vote: ${reason}`, {
      requestId,
      sessionId,
      reason,
    });
  }

  /**
   * Resolves a question. Publishes the event before the agent gets `answer`, so that no effect of the answer precedes the event
   * on the bus. Does nothing for a question that is resolved already.
   */
  #resolve(
    requestId: string,
    outcome: PermissionOutcome,
    voterClientId: string | undefined,
    answer: Params,
  ): void {
    const question = this.#book.resolve(requestId, outcome);
    if (question === undefined) return;
    const voter = voterClientId === undefined ? {} : { voterClientId };
    this.#deps.bus.publish(
      'permission_resolved',
      { requestId, outcome, ...voter },
      { promptId: question.promptId, originatorClientId: voterClientId },
    );
    const waiting = this.#waiting.get(requestId);
    this.#waiting.delete(requestId);
    waiting?.timeout?.cancel();
    waiting?.answer(answer);
  }

  #armTimeout(requestId: string): Timer | undefined {
    const timeoutMs = this.#deps.limits.permissionResponseTimeoutMs;
    if (timeoutMs === 0) return undefined;
    return this.#deps.clock.after(timeoutMs, () =>
      this.#resolve(requestId, { outcome: 'cancelled' }, undefined, cancelledAnswer('timeout')),
    );
  }

  #checkSentinel(question: Question): void {
    if (question.options.some((option) => option.optionId === CANCEL_SENTINEL))
      throw fail('cancel_sentinel_collision', 'The agent offered an option id that the protocol reserves', {
        requestId: question.requestId,
        sentinel: CANCEL_SENTINEL,
      });
  }
}

/**
 * The 404 for a vote on a question that is not open. It has no error code, as the protocol wants: the stock client reads such an
 * answer as "not resolved by you".
 */
export function unknownRequest(requestId: string, sessionId?: string) {
  const where = sessionId === undefined ? {} : { sessionId };
  return failPlain(404, 'No pending permission request with this id', { requestId, ...where });
}

function invalidOption(requestId: string, optionId: string) {
  return fail('invalid_option_id', 'The option was not offered', { requestId, optionId });
}

function parseOutcome(value: unknown): PermissionOutcome {
  const raw = asRecord(value);
  if (raw.outcome === 'cancelled') return { outcome: 'cancelled' };
  if (raw.outcome === 'selected' && typeof raw.optionId === 'string' && raw.optionId !== '')
    return { outcome: 'selected', optionId: raw.optionId };
  throw failPlain(400, '`outcome` must be {"outcome":"selected","optionId":…} or {"outcome":"cancelled"}');
}

/** The options that the agent offers, without those that have no id: clients ignore a whole question for one such option. */
function parseOptions(value: unknown): readonly PermissionOption[] {
  if (!Array.isArray(value)) return [];
  return value.filter((option): option is PermissionOption => {
    const { optionId } = asRecord(option);
    return typeof optionId === 'string' && optionId !== '';
  });
}

/** The fields of a client's vote that go to the agent next to the outcome. */
function answerExtras(body: JsonObject): Params {
  const answers = Object.entries(asRecord(body.answers));
  const areStrings = answers.length > 0 && answers.every(([, value]) => typeof value === 'string');
  const mode = body.expectedPlanExecutionMode;
  return {
    ...(areStrings ? { answers: Object.fromEntries(answers) } : {}),
    ...(mode === undefined ? {} : { expectedPlanExecutionMode: mode }),
  };
}

function cancelledAnswer(reason?: CancelReason): Params {
  const meta = reason === undefined ? {} : { _meta: { 'qwen.daemon.permissionCancelReason': reason } };
  return { outcome: { outcome: 'cancelled' }, ...meta };
}
