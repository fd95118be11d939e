// The channel to one agent child. The ACP SDK matches the agent's answers to the daemon's calls; each call settles with its
// answer, at its deadline, or when the child ends.
import type { ClientConnection } from '@agentclientprotocol/sdk';
import type { Clock, Timer } from '../contract/clock.ts';
import type { FeedAgent } from '../contract/feed.ts';
import type { Log } from '../contract/log.ts';
import {
  AgentCallError,
  type AgentChannel,
  type AgentExit,
  AgentGone,
  AgentMissing,
  AgentTimeout,
  type Params,
} from './agent.ts';
import type { AgentChild } from './child.ts';
import { AgentStream, type Incoming } from './stream.ts';

const PROTOCOL_VERSION = 1;
/**
 * Sent with `initialize`: asks the agent to report its background work, on every change and every `intervalMs`. Agents that do
 * not know this extension ignore it: ACP allows any `_meta`.
 */
const ACTIVE_WORK_REPORTS = {
  'qwen.daemon.activeWorkHeartbeat': {
    v: 1,
    intervalMs: 15_000,
    categories: ['agent', 'notification', 'shell', 'session', 'workflow'],
  },
};

export interface LinkOptions {
  readonly child: AgentChild;
  readonly generation: number;
  readonly incoming: Incoming;
  readonly maxLineBytes: number;
  readonly clock: Clock;
  readonly log: Log;
}

/**
 * Loads the ACP SDK before the first channel needs it. A daemon may outlive an upgrade of its package, which removes the files
 * that the daemon has not read yet.
 */
export async function preloadLink(): Promise<void> {
  await import('@agentclientprotocol/sdk');
}

/**
 * Creates the channel to a child that is starting. Imports the ACP SDK only here, so that a daemon listens sooner, and the SDK
 * loads while the child starts.
 */
export async function openLink(options: LinkOptions): Promise<AgentLink> {
  const sdk = await import('@agentclientprotocol/sdk');
  return new AgentLink(options, (stream) => sdk.client({ name: 'qwen-coordinator' }).connect(stream));
}

export class AgentLink implements AgentChannel {
  readonly generation: number;
  /** Resolves with the child's exit, after every call without an answer was rejected with AgentGone. Never rejects. */
  readonly gone: Promise<AgentExit>;
  readonly #child: AgentChild;
  readonly #stream: AgentStream;
  readonly #connection: ClientConnection;
  readonly #options: LinkOptions;
  #initialized: Params = {};
  #isEndDecided = false;
  #pauses = 0;

  constructor(options: LinkOptions, connect: (stream: AgentStream['acp']) => ClientConnection) {
    this.#options = options;
    this.#child = options.child;
    this.generation = options.generation;
    this.#stream = new AgentStream({
      stdin: options.child.stdin,
      stdout: options.child.stdout,
      incoming: options.incoming,
      maxLineBytes: options.maxLineBytes,
      log: options.log,
      onBroken: (reason) => this.#broken(reason),
    });
    this.#connection = connect(this.#stream.acp);
    this.gone = this.#settleAtExit();
  }

  get process(): FeedAgent {
    const capabilities = this.#initialized.agentCapabilities as
      | { readonly loadSession?: unknown }
      | undefined;
    return { ...this.#child.identity, canLoad: capabilities?.loadSession === true };
  }

  get initialized(): Params {
    return this.#initialized;
  }

  get isDying(): boolean {
    return this.#isEndDecided || !this.#child.isAlive;
  }

  /**
   * Ends the child with every process that it started; resolves when all of them are gone. The channel is dying at once, so that
   * a fresh child can start beside this one. Idempotent.
   * @param isPlanned whether the daemon wanted the end.
   */
  async end(isPlanned: boolean): Promise<AgentExit> {
    this.#isEndDecided = true;
    await this.#child.end(isPlanned);
    return this.gone;
  }

  /**
   * Sends `initialize` and keeps the agent's answer. To be called once, before any other call.
   * @throws AgentMissing when the agent speaks another version of ACP; else as `request`.
   */
  async initialize(clientVersion: string, timeoutMs: number): Promise<void> {
    const answer = await this.request(
      'initialize',
      {
        protocolVersion: PROTOCOL_VERSION,
        clientInfo: { name: 'qwen-coordinator', version: clientVersion },
        clientCapabilities: { fs: { readTextFile: false, writeTextFile: true } },
        _meta: ACTIVE_WORK_REPORTS,
      },
      timeoutMs,
    );
    const initialized: Params = typeof answer === 'object' && answer !== null ? { ...answer } : {};
    const version = initialized.protocolVersion ?? PROTOCOL_VERSION;
    if (version !== PROTOCOL_VERSION)
      throw new AgentMissing(
        'initialize',
        `the agent speaks version ${String(version)} of ACP, this daemon version ${PROTOCOL_VERSION}: use another release of the agent`,
      );
    this.#initialized = initialized;
  }

  async request(method: string, params: Params, timeoutMs: number | undefined): Promise<unknown> {
    const answer = this.#connection.agent.request(method, params);
    try {
      return await (timeoutMs === undefined ? answer : this.#within(answer, method, timeoutMs));
    } catch (error) {
      throw asCallError(error);
    }
  }

  notify(method: string, params: Params): void {
    // The SDK rejects a notification only after the connection was closed, when the child is gone and nothing needs to be done.
    this.#connection.agent.notify(method, params).catch(() => undefined);
  }

  pause(): void {
    this.#pauses += 1;
    // Pauses only a living child: the output that an ended child left in its pipe is always read to its end.
    if (this.#pauses === 1 && this.#child.isAlive) this.#child.stdout.pause();
  }

  resume(): void {
    if (this.#pauses === 0) return;
    this.#pauses -= 1;
    if (this.#pauses === 0) this.#child.stdout.resume();
  }

  #within(answer: Promise<unknown>, method: string, timeoutMs: number): Promise<unknown> {
    let timer: Timer | undefined;
    const late = new Promise<never>((_, reject) => {
      timer = this.#options.clock.after(timeoutMs, () => reject(new AgentTimeout(method, timeoutMs)));
    });
    return Promise.race([answer, late]).finally(() => timer?.cancel());
  }

  async #settleAtExit(): Promise<AgentExit> {
    const exit = await this.#child.exited;
    await this.#stream.finish();
    this.#connection.close(new AgentGone(exit));
    // Lets the rejections reach the callers first, so that a failed turn is published before the death of its session.
    await new Promise((resolve) => setImmediate(resolve));
    return exit;
  }

  #broken(reason: string): void {
    // Logs nothing for an agent that is ending, which also closes its stdin: the log line about its exit says more.
    if (!this.isDying)
      this.#options.log.error({ reason, ...this.process }, 'agent channel broken, ending the agent');
    void this.end(false);
  }
}

function asCallError(error: unknown): unknown {
  if (error instanceof AgentGone || error instanceof AgentTimeout) return error;
  const { code, message, data } = error as { code?: unknown; message?: unknown; data?: unknown };
  return typeof code === 'number' ? new AgentCallError(code, String(message), data) : error;
}
