// The agent as the sessions see it: one child process speaking ACP, many sessions over it. Implemented by `host.ts`.
import type { FeedAgent } from '../contract/feed.ts';

export type Params = Readonly<Record<string, unknown>>;

/** How a child ended. Exactly one of `code` and `signal` is set, both null when it never started. */
export interface AgentExit {
  readonly code: number | null;
  readonly signal: string | null;
  /** True when the daemon itself ended it (no session left, shutdown). */
  readonly isPlanned: boolean;
  /** Last lines of the child's stderr, oldest first. */
  readonly lastLines: readonly string[];
}

/** What the child says on its own. Every method is called synchronously, in the order of the child's output. */
export interface AgentSink {
  /**
   * A `session/update` notification; `params` exactly as the agent sent them, unknown kinds and fields kept. `json` is
   * their text where it could be cut out of the agent's line.
   */
  update(sessionId: string, params: Params, json?: string): void;
  /** Any other notification. */
  notification(method: string, params: Params): void;
  /** A request other than `fs/*`. The answer goes back to the agent; reject with `AgentCallError` to answer an error. */
  request(method: string, params: Params): Promise<unknown>;
  /** The child is gone. Every call in flight has been rejected with `AgentGone` before. Called once per child. */
  exited(channel: AgentChannel, exit: AgentExit): void;
}

/** A JSON-RPC error, from the agent or to be answered to it. */
export class AgentCallError extends Error {
  readonly code: number;
  readonly data: unknown;
  constructor(code: number, message: string, data?: unknown) {
    super(message);
    this.name = 'AgentCallError';
    this.code = code;
    this.data = data;
  }
}

/** JSON-RPC "method not found". */
export const METHOD_NOT_FOUND = -32601;
/** The agent's way to say that it has no such thing (JSON-RPC, as ACP uses it). */
export const RESOURCE_NOT_FOUND = -32002;
/** JSON-RPC "internal error". */
export const INTERNAL_ERROR = -32603;

/** The call can have no answer: the child is gone. */
export class AgentGone extends Error {
  readonly exit: AgentExit;
  constructor(exit: AgentExit) {
    super('agent channel closed mid-request: the agent process ended');
    this.name = 'AgentGone';
    this.exit = exit;
  }
}

/** The agent did not answer in time. */
export class AgentTimeout extends Error {
  readonly method: string;
  readonly timeoutMs: number;
  constructor(method: string, timeoutMs: number) {
    super(`agent did not answer ${method} within ${timeoutMs} ms`);
    this.name = 'AgentTimeout';
    this.method = method;
    this.timeoutMs = timeoutMs;
  }
}

/** The agent cannot be started: what is missing and what to do about it, for a person. */
export class AgentMissing extends Error {
  readonly command: string;
  constructor(command: string, message: string) {
    super(message);
    this.name = 'AgentMissing';
    this.command = command;
  }
}

/** One live child after its `initialize`. */
export interface AgentChannel {
  /** Counts the children of this daemon, from 1. */
  readonly generation: number;
  readonly process: FeedAgent;
  /** The agent's answer to `initialize`. */
  readonly initialized: Params;
  /** True from the moment that its end was decided or seen; such a channel takes no new session. */
  readonly isDying: boolean;
  /**
   * Calls the agent. `timeoutMs` undefined waits for ever (prompts).
   * @throws AgentCallError, AgentGone, AgentTimeout
   */
  request(method: string, params: Params, timeoutMs: number | undefined): Promise<unknown>;
  /** Does nothing when the child is gone. */
  notify(method: string, params: Params): void;
  /** Stops and resumes reading the child's stdout (backpressure). Counted: each pause needs its resume. */
  pause(): void;
  resume(): void;
}

export interface AgentDiagnosis {
  /** The profile or command line as configured. */
  readonly configured: string;
  /** The command that would run, or undefined when it cannot be found. */
  readonly command: readonly string[] | undefined;
  /** Why it cannot run and what to do, undefined when it can. */
  readonly problem: string | undefined;
}

export interface AgentHost {
  /**
   * The current channel, started and initialised first if need be; concurrent calls share one start.
   * @throws AgentMissing, AgentGone (died in its handshake), AgentTimeout, AgentCallError
   */
  channel(): Promise<AgentChannel>;
  /** The live, not dying channel, if any. Starts nothing. */
  current(): AgentChannel | undefined;
  /** Marks the channel dying at once, then ends its whole process tree. Idempotent. */
  retire(channel: AgentChannel): Promise<AgentExit>;
  /** Ends every child, those still in their handshake included. After it `channel()` rejects. */
  stop(): Promise<void>;
  /** Kills every child's whole tree now. Synchronous: for the second signal and for exit handlers. */
  killNow(): void;
  diagnose(): AgentDiagnosis;
}

/** The agent answered a change with something that no client may see. */
export class UnusableAnswer extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'UnusableAnswer';
  }
}
