// Starts agent children and keeps track of each (starting, live or dying) until nothing of its process tree is left, so that the
// end of the daemon forgets none.
import type { Clock } from '../contract/clock.ts';
import type { Limits } from '../contract/limits.ts';
import type { Log } from '../contract/log.ts';
import { AgentMissing } from './agent.ts';
import { type AgentChild, startChild } from './child.ts';
import type { AgentProfile } from './profiles.ts';

/** The facts with which the workspace's agent children are started. */
export interface AgentLaunch {
  /**
   * Resolves the agent's program. Called before each start, so that an agent that was installed since the last start is found.
   */
  readonly profile: () => AgentProfile;
  /** Canonical path: the working directory of the children, and the directory to which their file requests are confined. */
  readonly workspace: string;
  /**
   * The children's environment, already without the variables that an agent must not see; the profile's own variables are added.
   */
  readonly env: Readonly<Record<string, string | undefined>>;
}

export interface AgentChildrenDeps {
  readonly limits: Pick<Limits, 'agentStdinGraceMs' | 'agentKillGraceMs'>;
  readonly clock: Clock;
  readonly log: Log;
}

/** How long to wait for the last output of a child that has ended. */
const EXIT_DRAIN_MS = 50;
/** One live and one dying child are ordinary. More children than this mean that some do not end: that is logged as a warning. */
const ORDINARY_CHILDREN = 2;

export class AgentChildren {
  readonly #launch: AgentLaunch;
  readonly #deps: AgentChildrenDeps;
  readonly #children = new Set<AgentChild>();

  constructor(launch: AgentLaunch, deps: AgentChildrenDeps) {
    this.#launch = launch;
    this.#deps = deps;
  }

  /**
   * Starts a child. Where the system reports a refusal only after this call, the child's `started` rejects.
   * @throws AgentMissing
   */
  start(): AgentChild {
    const { profile, env, workspace } = this.#launch;
    const { limits, clock, log } = this.#deps;
    const { configured, command, problem, env: added } = profile();
    if (command === undefined || problem !== undefined)
      throw new AgentMissing(configured, problem ?? `agent "${configured}" has no command`);
    const child = startChild({
      command,
      cwd: workspace,
      env: { ...env, ...added },
      stdinGraceMs: limits.agentStdinGraceMs,
      killGraceMs: limits.agentKillGraceMs,
      drainMs: EXIT_DRAIN_MS,
      clock,
      log,
    });
    this.#keep(child);
    return child;
  }

  /** Ends the whole process tree of every child; resolves when all of them are gone. */
  async endAll(): Promise<void> {
    await Promise.all([...this.#children].map((child) => child.end(true)));
  }

  /** Kills every child's whole process tree now. Synchronous. */
  killNow(): void {
    for (const child of this.#children) child.killNow(true);
  }

  /** Keeps the child until nothing of its process tree is left. */
  #keep(child: AgentChild): void {
    this.#children.add(child);
    if (this.#children.size > ORDINARY_CHILDREN)
      this.#deps.log.warn({ children: this.#children.size }, 'more than two agent children are alive');
    void child.exited.then(async () => {
      await child.end(false);
      this.#children.delete(child);
    });
  }
}
