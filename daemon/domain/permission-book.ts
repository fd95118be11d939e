// The permission questions of one session: every open question, and the outcomes of the newest resolved ones, by which late
// votes are answered.
import type { Ballot, PermissionOutcome } from './permission-policy.ts';

/** How many resolved questions are kept (the protocol's bound); a vote on an older question is refused as unknown. */
const REMEMBERED = 512;

/** Option id that the protocol reserves: no agent may offer it and no client may vote for it. */
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

  /** The open question with this id; undefined when there is none. */
  find(requestId: string): Question | undefined {
    return this.#open.get(requestId);
  }

  /** The outcome of a resolved question; undefined when the question is open, unknown, or resolved too long ago. */
  resolvedOutcome(requestId: string): PermissionOutcome | undefined {
    return this.#resolved.get(requestId);
  }

  /** Adds an open question, with a copy of its votes, which `recordVote` extends. */
  add(question: Question): void {
    const ballot = { ...question.ballot, votes: new Map(question.ballot.votes) };
    this.#open.set(question.requestId, { ...question, ballot });
  }

  /** Adds a vote that does not yet decide the question. */
  recordVote(requestId: string, clientId: string, optionId: string): void {
    this.#open.get(requestId)?.ballot.votes.set(clientId, optionId);
  }

  /** Moves an open question to the resolved ones. @returns the question; undefined when no open question has this id. */
  resolve(requestId: string, outcome: PermissionOutcome): Question | undefined {
    const question = this.#open.get(requestId);
    if (question === undefined) return undefined;
    this.#open.delete(requestId);
    this.#resolved.set(requestId, outcome);
    if (this.#resolved.size > REMEMBERED) this.#resolved.delete(this.#resolved.keys().next().value as string);
    return question;
  }
}
