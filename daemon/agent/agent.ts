// The interface between the sessions and the agent: one child process that speaks ACP and serves many sessions. Implemented in
// host.ts.
import type { FeedAgent } from '../contract/feed.ts';

export type Params = Readonly<Record<string, unknown>>;

/** How an agent child ended. Exactly one of `code` and `signal` is set; both are null when the process never started. */
export interface AgentExit {
  readonly code: number | null;
  readonly signal: string | null;
  /** True when the daemon ended the child on purpose (no session left, shutdown). */
  readonly isPlanned: boolean;
  /** Last lines of the child's stderr, oldest first. */
  readonly lastLines: readonly string[];
}

/**
 * Receives the notifications and requests that the agent child sends. Every method is called synchronously, in the order of the
 * child's output.
 */
export interface AgentSink {
  /**
   * A `session/update` notification.
   * @param params exactly as the agent sent them, with unknown kinds and fields.
   * @param json `params` as JSON text, cut out of the agent's output line; undefined where that was not possible.
   */
  update(sessionId: string, params: Params, json?: string): void;
  /** A notification other than `session/update`. */
  notification(method: string, params: Params): void;
  /**
   * A request other than `fs/*`. The resolved value is sent to the agent as the result, a rejection with `AgentCallError` as the
   * error.
   */
  request(method: string, params: Params): Promise<unknown>;
  /** The child has ended, and every call to it without an answer has been rejected with `AgentGone`. Called once per child. */
  exited(channel: AgentChannel, exit: AgentExit): void;
}

/**
 * A JSON-RPC error: thrown by a call that the agent answered with an error, or by the daemon to answer the agent's request with
 * one.
 */
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
/** JSON-RPC "resource not found", as ACP uses it. */
export const RESOURCE_NOT_FOUND = -32002;
/** JSON-RPC "internal error". */
export const INTERNAL_ERROR = -32603;

/** Rejects a call to the agent that can have no answer any more, because the child has ended. */
export class AgentGone extends Error {
  readonly exit: AgentExit;
  constructor(exit: AgentExit) {
    super('agent channel closed mid-request: the agent process ended');
    this.name = 'AgentGone';
    this.exit = exit;
  }
}

/** Rejects a call that the agent did not answer within its deadline. */
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

/** Thrown when the agent cannot be started. The message says what is missing and what a person can do about it. */
export class AgentMissing extends Error {
  readonly command: string;
  constructor(command: string, message: string) {
    super(message);
    this.name = 'AgentMissing';
    this.command = command;
  }
}

/** The connection to one agent child whose `initialize` handshake has succeeded. */
export interface AgentChannel {
  /** Number of the child among all children of this daemon, counted from 1. */
  readonly generation: number;
  readonly process: FeedAgent;
  /** The agent's answer to `initialize`. */
  readonly initialized: Params;
  /** True from the moment in which the daemon decided to end the child, or saw it end. A dying channel takes no new session. */
  readonly isDying: boolean;
  /**
   * Calls a method of the agent.
   * @param timeoutMs how long to wait for the answer; undefined waits for ever, as prompts do.
   * @throws AgentCallError, AgentGone, AgentTimeout
   */
  request(method: string, params: Params, timeoutMs: number | undefined): Promise<unknown>;
  /** Sends the agent a notification. Does nothing when the child has ended. */
  notify(method: string, params: Params): void;
  /** Stops reading the child's stdout (backpressure), until `resume` was called as often as `pause`. */
  pause(): void;
  resume(): void;
}

export interface AgentDiagnosis {
  /** The value of `--agent`: an agent profile or a command line. */
  readonly configured: string;
  /** The command that a start of the agent would run; undefined when no program was found. */
  readonly command: readonly string[] | undefined;
  /** Why the agent cannot run and what to do about it; undefined when it can run. */
  readonly problem: string | undefined;
}

export interface AgentHost {
  /**
   * The channel that takes new sessions. Where there is none, starts a child and initialises it; concurrent calls share one
   * start.
   * @throws AgentMissing, AgentGone (the child died in its handshake), AgentTimeout, AgentCallError
   */
  channel(): Promise<AgentChannel>;
  /** The channel that takes new sessions; undefined where there is none. Starts nothing. */
  current(): AgentChannel | undefined;
  /** Marks the channel as dying at once, then ends the child's whole process tree. Idempotent. */
  retire(channel: AgentChannel): Promise<AgentExit>;
  /** Ends every agent child, also a child that is still in its handshake. From then on `channel` rejects. */
  stop(): Promise<void>;
  /** Kills every child's whole process tree now. Synchronous: for exit handlers, and for a second signal to the daemon. */
  killNow(): void;
  diagnose(): AgentDiagnosis;
}

/** Thrown when the agent answered the change of a setting without a value, or with a value that clients do not know. */
export class UnusableAnswer extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'UnusableAnswer';
  }
}
