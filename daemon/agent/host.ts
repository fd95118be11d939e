// The agent of a workspace: at most one channel that takes new sessions, started on demand, beside the channels of children that
// are ending.
import type { Clock } from '../contract/clock.ts';
import type { Limits } from '../contract/limits.ts';
import type { Log } from '../contract/log.ts';
import {
  type AgentChannel,
  type AgentDiagnosis,
  type AgentExit,
  AgentGone,
  type AgentHost,
  type AgentSink,
} from './agent.ts';
import { answerCalls } from './callbacks.ts';
import type { AgentChild } from './child.ts';
import { AgentChildren, type AgentLaunch } from './children.ts';
import { AgentLink, openLink } from './link.ts';
import type { Incoming } from './stream.ts';

export interface AgentHostDeps {
  /** Version of the daemon, sent to the agent with `initialize`. */
  readonly version: string;
  readonly limits: Pick<Limits, 'initializeTimeoutMs' | 'agentStdinGraceMs' | 'agentKillGraceMs'>;
  readonly clock: Clock;
  readonly log: Log;
  readonly sink: AgentSink;
  /** The number of live sessions on a channel, for the log line about the channel's end. */
  readonly sessionsOn: (channel: AgentChannel) => number;
  /** The longest line that the agent may write to stdout, see `AgentStreamOptions`. Default: 64 MiB. */
  readonly maxLineBytes?: number;
}

const MAX_LINE_BYTES = 64 * 1024 * 1024;
const STOPPED: AgentExit = { code: null, signal: null, isPlanned: true, lastLines: [] };

/**
 * Creates the host of the workspace's agent; starts no child yet. `sink.exited` is called only for children whose handshake
 * succeeded.
 */
export function createAgentHost(launch: AgentLaunch, deps: AgentHostDeps): AgentHost {
  return new ProcessAgentHost(launch, deps);
}

class ProcessAgentHost implements AgentHost {
  readonly #launch: AgentLaunch;
  readonly #deps: AgentHostDeps;
  readonly #incoming: Incoming;
  readonly #children: AgentChildren;
  readonly #links = new Set<AgentLink>();
  #current: AgentLink | undefined;
  #starting: Promise<AgentChannel> | undefined;
  #isStopped = false;
  #generation = 0;

  constructor(launch: AgentLaunch, deps: AgentHostDeps) {
    const { limits, clock, log, sink } = deps;
    this.#launch = launch;
    this.#deps = deps;
    this.#incoming = answerCalls(launch.workspace, sink);
    this.#children = new AgentChildren(launch, { limits, clock, log });
  }

  async channel(): Promise<AgentChannel> {
    if (this.#isStopped) throw new AgentGone(STOPPED);
    const current = this.current();
    if (current !== undefined) return current;
    this.#starting ??= this.#start().finally(() => {
      this.#starting = undefined;
    });
    return this.#starting;
  }

  current(): AgentChannel | undefined {
    return this.#current?.isDying === false ? this.#current : undefined;
  }

  async retire(channel: AgentChannel): Promise<AgentExit> {
    if (!(channel instanceof AgentLink)) throw new Error('this channel belongs to another host');
    return channel.end(true);
  }

  async stop(): Promise<void> {
    this.#isStopped = true;
    const links = [...this.#links].map((link) => link.end(true));
    await Promise.all([...links, this.#children.endAll()]);
  }

  killNow(): void {
    this.#children.killNow();
  }

  diagnose(): AgentDiagnosis {
    const { configured, command, problem } = this.#launch.profile();
    return { configured, command, problem };
  }

  async #start(): Promise<AgentChannel> {
    const child = this.#children.start();
    try {
      await child.started;
      const link = await this.#handshake(child);
      this.#current = link;
      this.#links.add(link);
      this.#watch(link);
      return link;
    } catch (error) {
      if (!this.#isStopped)
        this.#deps.log.warn({ err: error, agentPid: child.identity.pid }, 'the agent did not start');
      void child.end(true);
      throw error;
    }
  }

  async #handshake(child: AgentChild): Promise<AgentLink> {
    this.#generation += 1;
    const { clock, log, limits, version, maxLineBytes = MAX_LINE_BYTES } = this.#deps;
    const link = await openLink({
      child,
      generation: this.#generation,
      incoming: this.#incoming,
      maxLineBytes,
      clock,
      log,
    });
    await link.initialize(version, limits.initializeTimeoutMs);
    // An agent may end right after its answer to `initialize`: then `channel` rejects with the exit instead of returning a dead
    // channel.
    if (link.isDying) throw new AgentGone(await link.gone);
    return link;
  }

  #watch(link: AgentLink): void {
    const { log, sink, sessionsOn } = this.#deps;
    void link.gone.then((exit) => {
      const { code, signal, isPlanned } = exit;
      const fields = { ...link.process, code, signal, sessions: sessionsOn(link) };
      if (isPlanned) log.debug(fields, 'agent ended');
      else log.warn({ ...fields, lastLines: exit.lastLines }, 'agent ended unexpectedly');
      if (this.#current === link) this.#current = undefined;
      sink.exited(link, exit);
      this.#links.delete(link);
    });
  }
}
