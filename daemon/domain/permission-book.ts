// The permission questions of one session: the open ones, and the newest resolved ones for late votes.
import type { Ballot, PermissionOutcome } from './permission-policy.ts';

/** How many resolved questions are remembered (the protocol's bound); a vote on an older question is refused as unknown. */
const REMEMBERED = 512;

/** Option id that the protocol reserves for its own use: no client may vote for it. */
export const CANCEL_SENTINEL = '__cancelled__';

export interface PermissionOption {
  readonly optionId: string;
  readonly name?: string;
  readonly kind?: string;
}

export interface Question {
  readonly requestId: string;
  readonly toolCall: Readonly<Record<string, unknown>>;
  readonly options: readonly PermissionOption[];
  readonly promptId: string | undefined;
  readonly createdAtMs: number;
  readonly ballot: Ballot;
}

export class PermissionBook {
  readonly #open = new Map<string, Question & { readonly ballot: { votes: Map<string, string> } }>();
  readonly #resolved = new Map<string, PermissionOutcome>();

  get openCount(): number {
    return this.#open.size;
  }

  /** The open questions, oldest first. */
  open(): readonly Question[] {
    return [...this.#open.values()];
  }

  /** An open question; undefined when the id is of none. */
  find(requestId: string): Question | undefined {
    return this.#open.get(requestId);
  }

  /** The outcome of a question that is already resolved and still remembered. */
  resolvedOutcome(requestId: string): PermissionOutcome | undefined {
    return this.#resolved.get(requestId);
  }

  /** Opens a question. */
  add(question: Question): void {
    const ballot = { ...question.ballot, votes: new Map(question.ballot.votes) };
    this.#open.set(question.requestId, { ...question, ballot });
  }

  /** Notes a vote that leaves the question open. */
  recordVote(requestId: string, clientId: string, optionId: string): void {
    this.#open.get(requestId)?.ballot.votes.set(clientId, optionId);
  }

  /** Moves an open question to the resolved ones. @returns the question; undefined when it is not open any more. */
  resolve(requestId: string, outcome: PermissionOutcome): Question | undefined {
    const question = this.#open.get(requestId);
    if (question === undefined) return undefined;
    this.#open.delete(requestId);
    this.#resolved.set(requestId, outcome);
    if (this.#resolved.size > REMEMBERED) this.#resolved.delete(this.#resolved.keys().next().value as string);
    return question;
  }
}
