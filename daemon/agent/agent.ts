// The agent as the sessions see it: one child process that speaks ACP, and many sessions over it. Implemented in host.ts.
import type { FeedAgent } from '../contract/feed.ts';

export type Params = Readonly<Record<string, unknown>>;

/** How a child ended. Exactly one of `code` and `signal` is set, both null when it never started. */
export interface AgentExit {
  readonly code: number | null;
  readonly signal: string | null;
  /** True when the daemon itself ended the child (no session left, shutdown). */
  readonly isPlanned: boolean;
  /** Last lines of the child's stderr, oldest first. */
  readonly lastLines: readonly string[];
}

/** Receives what the child sends on its own. Every method is called synchronously, in the order of the child's output. */
export interface AgentSink {
  /**
   * A `session/update` notification.
   * @param params exactly as the agent sent them, with unknown kinds and fields.
   * @param json the text of `params`, where it could be cut out of the agent's line.
   */
  update(sessionId: string, params: Params, json?: string): void;
  /** Any other notification. */
  notification(method: string, params: Params): void;
  /** A request other than `fs/*`. The result goes back to the agent; an `AgentCallError` goes back as an error. */
  request(method: string, params: Params): Promise<unknown>;
  /** The child is gone, and every call to it that had no answer has been rejected with `AgentGone`. Called once per child. */
  exited(channel: AgentChannel, exit: AgentExit): void;
}

/** A JSON-RPC error: one that the agent answered, or one to answer the agent with. */
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

/** The call can have no answer: the child is gone. */
export class AgentGone extends Error {
  readonly exit: AgentExit;
  constructor(exit: AgentExit) {
    super('agent channel closed mid-request: the agent process ended');
    this.name = 'AgentGone';
    this.exit = exit;
  }
}

/** The agent did not answer a call in time. */
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

/** The agent cannot be started. The message tells a person what is missing and what to do about it. */
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
  /** True from the moment that the child's end was decided or seen; a dying channel takes no new session. */
  readonly isDying: boolean;
  /**
   * Calls the agent.
   * @param timeoutMs undefined waits for ever (prompts).
   * @throws AgentCallError, AgentGone, AgentTimeout
   */
  request(method: string, params: Params, timeoutMs: number | undefined): Promise<unknown>;
  /** Does nothing when the child is gone. */
  notify(method: string, params: Params): void;
  /** Stops reading the child's stdout (backpressure), until `resume` was called as often as `pause`. */
  pause(): void;
  resume(): void;
}

export interface AgentDiagnosis {
  /** The profile or command line as configured. */
  readonly configured: string;
  /** The command that would run; undefined when it cannot be found. */
  readonly command: readonly string[] | undefined;
  /** Why the agent cannot run and what to do about it; undefined when it can run. */
  readonly problem: string | undefined;
}

export interface AgentHost {
  /**
   * The current channel; its child is started and initialised first if need be. Concurrent calls share one start.
   * @throws AgentMissing, AgentGone (the child died in its handshake), AgentTimeout, AgentCallError
   */
  channel(): Promise<AgentChannel>;
  /** The channel that is live and not dying, if there is one. Starts nothing. */
  current(): AgentChannel | undefined;
  /** Marks the channel as dying at once, then ends the child's whole process tree. Idempotent. */
  retire(channel: AgentChannel): Promise<AgentExit>;
  /** Ends every child, also those in their handshake. After it `channel` rejects. */
  stop(): Promise<void>;
  /** Kills every child's whole tree now. Synchronous: for the second signal and for exit handlers. */
  killNow(): void;
  diagnose(): AgentDiagnosis;
}

/** The agent answered a change with a value that clients do not know. */
export class UnusableAnswer extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'UnusableAnswer';
  }
}
