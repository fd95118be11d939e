// Starts agent children and keeps each one, starting, live or dying, until nothing of its process tree is left: so none is
// forgotten when the daemon ends.
import type { Clock } from '../contract/clock.ts';
import type { Limits } from '../contract/limits.ts';
import type { Log } from '../contract/log.ts';
import { AgentMissing } from './agent.ts';
import { type AgentChild, startChild } from './child.ts';
import type { AgentProfile } from './profiles.ts';

/** How the children of a workspace are started. */
export interface AgentLaunch {
  /** Asked before each start, so that an agent installed meanwhile is found. */
  readonly profile: () => AgentProfile;
  /** Canonical path: the children's working directory and the bounds of their file calls. */
  readonly workspace: string;
  /** The children's environment, already stripped; the profile's own variables are added. */
  readonly env: Readonly<Record<string, string | undefined>>;
}

export interface AgentChildrenDeps {
  readonly limits: Pick<Limits, 'agentStdinGraceMs' | 'agentKillGraceMs'>;
  readonly clock: Clock;
  readonly log: Log;
}

/** How long the output of an ended child may take to arrive. */
const EXIT_DRAIN_MS = 50;
/** One live and one dying child are ordinary; more means that children do not end. */
const ORDINARY_CHILDREN = 2;

export class AgentChildren {
  readonly #launch: AgentLaunch;
  readonly #deps: AgentChildrenDeps;
  readonly #children = new Set<AgentChild>();

  constructor(launch: AgentLaunch, deps: AgentChildrenDeps) {
    this.#launch = launch;
    this.#deps = deps;
  }

  /** Starts a child; what the system refuses later shows in its `started`. @throws AgentMissing */
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

  /** Ends every child with everything that it started. */
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
