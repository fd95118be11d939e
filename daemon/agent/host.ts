// The agent of a workspace: at most one channel that takes sessions, started when it is asked for, and every child that is
// still on its way in or out, so that none is forgotten at the end.
import type { Clock } from '../contract/clock.ts';
import type { Limits } from '../contract/limits.ts';
import type { Log } from '../contract/log.ts';
import {
  type AgentChannel,
  type AgentDiagnosis,
  type AgentExit,
  AgentGone,
  type AgentHost,
  AgentMissing,
  type AgentSink,
} from './agent.ts';
import { answerCalls } from './callbacks.ts';
import { type AgentChild, startChild } from './child.ts';
import { AgentLink, openLink } from './link.ts';
import type { AgentProfile } from './profiles.ts';
import type { Incoming } from './stream.ts';

export interface AgentHostOptions {
  /** Asked before each start, so that an agent installed meanwhile is found. */
  readonly profile: () => AgentProfile;
  /** Canonical path: the children's working directory and the bounds of their file calls. */
  readonly workspace: string;
  /** The children's environment, already stripped; the profile's own variables are added. */
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Told to the agent in the handshake. */
  readonly version: string;
  readonly limits: Pick<Limits, 'initializeTimeoutMs' | 'agentStdinGraceMs' | 'agentKillGraceMs'>;
  readonly clock: Clock;
  readonly log: Log;
  readonly sink: AgentSink;
  /** How many sessions live on a channel, for the log line about its end. */
  readonly sessionsOn: (channel: AgentChannel) => number;
  /** Default 50. See `ChildOptions`. */
  readonly exitDrainMs?: number;
  /** Default 64 MiB. See `AgentStreamOptions`. */
  readonly maxLineBytes?: number;
}

const EXIT_DRAIN_MS = 50;
const MAX_LINE_BYTES = 64 * 1024 * 1024;
/** One live and one dying child are ordinary; more means that children do not end. */
const ORDINARY_CHILDREN = 2;
const STOPPED: AgentExit = { code: null, signal: null, isPlanned: true, lastLines: [] };

/** Starts nothing yet. `sink.exited` is called for children whose handshake succeeded. */
export function createAgentHost(options: AgentHostOptions): AgentHost {
  return new ProcessAgentHost(options);
}

class ProcessAgentHost implements AgentHost {
  readonly #options: AgentHostOptions;
  readonly #incoming: Incoming;
  /** Every child whose tree is not known to be gone: starting, live, dying. */
  readonly #children = new Set<AgentChild>();
  readonly #links = new Set<AgentLink>();
  #current: AgentLink | undefined;
  #starting: Promise<AgentChannel> | undefined;
  #isStopped = false;
  #generation = 0;

  constructor(options: AgentHostOptions) {
    this.#options = options;
    this.#incoming = answerCalls(options.workspace, options.sink);
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
    await Promise.all([...links, ...[...this.#children].map((child) => child.end(true))]);
  }

  killNow(): void {
    for (const child of this.#children) child.killNow(true);
  }

  diagnose(): AgentDiagnosis {
    const { configured, command, problem } = this.#options.profile();
    return { configured, command, problem };
  }

  async #start(): Promise<AgentChannel> {
    const child = this.#spawn();
    try {
      await child.started;
      const link = await this.#handshake(child);
      this.#current = link;
      this.#links.add(link);
      this.#watch(link);
      return link;
    } catch (error) {
      if (!this.#isStopped)
        this.#options.log.warn({ err: error, agentPid: child.mark.pid }, 'the agent did not start');
      void child.end(true);
      throw error;
    }
  }

  #spawn(): AgentChild {
    const { profile, limits, env, workspace, clock, log } = this.#options;
    const { configured, command, problem, env: added } = profile();
    if (command === undefined || problem !== undefined)
      throw new AgentMissing(configured, problem ?? `agent "${configured}" has no command`);
    const child = startChild({
      command,
      cwd: workspace,
      env: { ...env, ...added },
      stdinGraceMs: limits.agentStdinGraceMs,
      killGraceMs: limits.agentKillGraceMs,
      drainMs: this.#options.exitDrainMs ?? EXIT_DRAIN_MS,
      clock,
      log,
    });
    this.#own(child);
    return child;
  }

  /** Keeps the child in the kill set until nothing of its tree is left. */
  #own(child: AgentChild): void {
    this.#children.add(child);
    if (this.#children.size > ORDINARY_CHILDREN)
      this.#options.log.warn({ children: this.#children.size }, 'more than two agent children are alive');
    void child.exited.then(async () => {
      await child.end(false);
      this.#children.delete(child);
    });
  }

  async #handshake(child: AgentChild): Promise<AgentLink> {
    this.#generation += 1;
    const { clock, log, limits, version } = this.#options;
    const link = await openLink({
      child,
      generation: this.#generation,
      incoming: this.#incoming,
      maxLineBytes: this.#options.maxLineBytes ?? MAX_LINE_BYTES,
      clock,
      log,
    });
    await link.initialize(version, limits.initializeTimeoutMs);
    // An agent may end right after its answer; whoever asked for a channel then hears of the end, not of the channel.
    if (link.isDying) throw new AgentGone(await link.gone);
    return link;
  }

  #watch(link: AgentLink): void {
    void link.gone.then((exit) => {
      const { code, signal, isPlanned } = exit;
      const fields = { ...link.process, code, signal, sessions: this.#options.sessionsOn(link) };
      if (isPlanned) this.#options.log.debug(fields, 'agent ended');
      else this.#options.log.warn({ ...fields, lastLines: exit.lastLines }, 'agent ended unexpectedly');
      if (this.#current === link) this.#current = undefined;
      this.#options.sink.exited(link, exit);
      this.#links.delete(link);
    });
  }
}
