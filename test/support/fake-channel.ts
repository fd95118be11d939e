// An agent channel in memory: every call of the bridge is kept until the test answers it.
import {
  AgentCallError,
  type AgentChannel,
  type AgentDiagnosis,
  type AgentExit,
  AgentGone,
  type AgentHost,
  AgentTimeout,
  METHOD_NOT_FOUND,
  type Params,
} from '../../daemon/agent/agent.ts';
import type { Clock } from '../../daemon/contract/clock.ts';

/** A call that was made of the agent. Only its first settling counts. */
export class FakeCall {
  readonly method: string;
  readonly params: Params;
  readonly timeoutMs: number | undefined;
  readonly result: Promise<unknown>;
  #settle: { readonly resolve: (value: unknown) => void; readonly reject: (error: Error) => void };
  #isOpen = true;

  constructor(method: string, params: Params, timeoutMs: number | undefined) {
    this.method = method;
    this.params = params;
    this.timeoutMs = timeoutMs;
    this.#settle = { resolve: () => undefined, reject: () => undefined };
    this.result = new Promise((resolve, reject) => {
      this.#settle = { resolve, reject };
    });
    this.result.catch(() => undefined);
  }

  /** Whether it waits for its answer. */
  get isOpen(): boolean {
    return this.#isOpen;
  }

  answer(value: unknown): void {
    this.#isOpen = false;
    this.#settle.resolve(value);
  }

  fail(error: Error): void {
    this.#isOpen = false;
    this.#settle.reject(error);
  }
}

type Answer = (params: Params) => unknown;

export const CRASH: AgentExit = { code: 7, signal: null, isPlanned: false, lastLines: ['last words'] };

export class FakeChannel implements AgentChannel {
  readonly generation = 1;
  readonly process = { pid: 4711, pgid: 4711, startTime: 1, canLoad: false };
  readonly initialized: Params = {};
  readonly calls: FakeCall[] = [];
  readonly notifications: { readonly method: string; readonly params: Params }[] = [];
  /** How often reading is held back now. */
  pauses = 0;
  /** How often it was ever held back. */
  pausesEver = 0;
  /** Methods that answer at once; what throws here is the answer's error. Prompts are never among them. */
  readonly answers = new Map<string, Answer>([
    ['craft/cancelPendingPrompt', unknownMethod],
    ['qwen/control/session/close', unknownMethod],
    ['qwen/control/session/title', unknownMethod],
    ['qwen/status/session/transcript', unknownMethod],
    ['qwen/control/session/approval_mode', unknownMethod],
    ['qwen/settings/setCoreValue', unknownMethod],
    ['qwen/status/session/context', unknownMethod],
  ]);
  readonly #clock: Clock;
  #exit: AgentExit | undefined;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  get isDying(): boolean {
    return this.#exit !== undefined;
  }

  request(method: string, params: Params, timeoutMs: number | undefined): Promise<unknown> {
    const call = new FakeCall(method, params, timeoutMs);
    this.calls.push(call);
    if (this.#exit !== undefined) call.fail(new AgentGone(this.#exit));
    else this.#answerAtOnce(call);
    if (timeoutMs !== undefined && call.isOpen)
      this.#clock.after(timeoutMs, () => call.fail(new AgentTimeout(method, timeoutMs)));
    return call.result;
  }

  notify(method: string, params: Params): void {
    if (this.#exit === undefined) this.notifications.push({ method, params });
  }

  pause(): void {
    this.pauses += 1;
    this.pausesEver += 1;
  }

  resume(): void {
    this.pauses -= 1;
  }

  /** Calls of a method that wait for their answer, oldest first. */
  open(method: string): FakeCall[] {
    return this.calls.filter((call) => call.method === method && call.isOpen);
  }

  /** The oldest open call of a method. @throws Error when there is none. */
  next(method: string): FakeCall {
    const call = this.open(method)[0];
    if (call === undefined) throw new Error(`no open call of ${method}`);
    return call;
  }

  /** The child is gone: every call in flight fails, and whatever is asked from now on. */
  die(exit: AgentExit = CRASH): void {
    this.#exit = exit;
    for (const call of this.calls) if (call.isOpen) call.fail(new AgentGone(exit));
  }

  #answerAtOnce(call: FakeCall): void {
    const answer = this.answers.get(call.method);
    if (answer === undefined) return;
    try {
      call.answer(answer(call.params));
    } catch (error) {
      call.fail(error as Error);
    }
  }
}

function unknownMethod(): never {
  throw new AgentCallError(METHOD_NOT_FOUND, 'Method not found');
}

/** A host whose children are fake: the next one is made when the current one dies. */
export class FakeHost implements AgentHost {
  readonly retired: AgentChannel[] = [];
  /** What `channel` fails with, while it is set. */
  failure: Error | undefined;
  /** Called with each new child before it is used. */
  onStart: (channel: FakeChannel) => void = () => undefined;
  readonly #clock: Clock;
  #current: FakeChannel | undefined;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  channel(): Promise<FakeChannel> {
    if (this.failure !== undefined) return Promise.reject(this.failure);
    if (this.#current === undefined || this.#current.isDying) {
      this.#current = new FakeChannel(this.#clock);
      this.onStart(this.#current);
    }
    return Promise.resolve(this.#current);
  }

  current(): FakeChannel | undefined {
    return this.#current?.isDying === false ? this.#current : undefined;
  }

  retire(channel: AgentChannel): Promise<AgentExit> {
    this.retired.push(channel);
    if (channel === this.#current) this.#current = undefined;
    return Promise.resolve(CRASH);
  }

  stop(): Promise<void> {
    return Promise.resolve();
  }

  killNow(): void {
    this.#current?.die();
  }

  diagnose(): AgentDiagnosis {
    return { configured: 'fake', command: ['fake'], problem: undefined };
  }
}
