// A fleet under faults: one coordinator after the other in one world, witnesses as clients, faults by name, and the
// invariants that hold whatever was done to it.
import { readdirSync, unlinkSync } from 'node:fs';
import { join } from 'node:path';
import { workspaceIdOf } from '../../daemon/contract/canonical-path.ts';
import { agentsIn, daemonsIn, incarnationOf, misfitsIn, twinsIn } from './census.ts';
import { eventually } from './eventually.ts';
import { coordinatorProcess, type Server, stubAgent } from './fleet-process.ts';
import { type AgentKill, fateOf, lossOf, storedSession } from './judge.ts';
import { Hold, type HoldingPoint } from './paused-daemon.ts';
import { type FoundProcess, Scratch } from './scratch.ts';
import { rowsOf } from './state-database.ts';
import { call } from './wire-client.ts';
import { LATER, type Replaced, Witness } from './witness.ts';

/** Everything quick, so that a fault is over in seconds; nothing is switched off. */
const QUICK = [
  ...['--restart-intensity', '10000', '--restart-first-backoff-ms', '50', '--restart-max-backoff-ms', '200'],
  ...['--start-timeout-ms', '4000', '--reconcile-period-ms', '200', '--feed-beat-ms', '200'],
  ...['--liveness-period-ms', '200', '--probe-timeout-ms', '2000'],
  ...['--stop-grace-ms', '3000', '--shutdown-grace-ms', '2500'],
];

/** How long running turns may hold an operator's command up. */
const OPERATOR_PATIENCE_MS = 2000;
/** Longest time until the fleet serves again after any fault. */
const RECOVERY_MS = 30_000;

export const FAULTS = [
  'kill the coordinator',
  'kill a daemon',
  'kill an agent',
  'freeze a daemon',
  'remove a socket file',
  'kill the coordinator and a daemon',
  'stop and start the coordinator',
  'restart the daemons',
  'drain and undrain a workspace',
] as const;
export type Fault = (typeof FAULTS)[number];

export const VICTIMS = ['coordinator', 'daemon', 'agent'] as const;
export type Victim = (typeof VICTIMS)[number];

export interface OrdealOptions {
  readonly workspaces?: number;
  readonly switches?: readonly string[];
  readonly flags?: readonly string[];
  /** Whether the agent can bring sessions back; default true. */
  readonly canLoad?: boolean;
  /** Where every daemon is held in its handshake until `release`. */
  readonly holdAt?: HoldingPoint;
  readonly random: () => number;
}

export interface Totals {
  readonly sessions: number;
  /** Sessions that were over, so that their client needed another one. */
  readonly replaced: readonly Replaced[];
  readonly acknowledged: number;
  readonly completed: number;
  readonly reported: number;
  /** Settled in the store, though the stream that would have told it was lost with its daemon. */
  readonly storedOnly: number;
  readonly lost: number;
}

export class Ordeal {
  readonly scratch: Scratch;
  readonly random: () => number;
  readonly witnesses: Witness[] = [];
  readonly violations: string[] = [];
  readonly faults: string[] = [];
  readonly agentKills: AgentKill[] = [];
  readonly hold: Hold | undefined;
  readonly #options: OrdealOptions;
  #server: Server | undefined;

  constructor(options: OrdealOptions) {
    this.#options = options;
    this.random = options.random;
    this.scratch = new Scratch(options.workspaces ?? 1);
    this.hold = options.holdAt === undefined ? undefined : new Hold(this.scratch, options.holdAt);
  }

  get baseUrl(): string | undefined {
    return this.#server?.exit === undefined ? this.#server?.baseUrl || undefined : undefined;
  }

  get server(): Server {
    if (this.#server === undefined) throw new Error('no coordinator was started');
    return this.#server;
  }

  endOf(sessionId: string): { readonly state: string; readonly reason: string } | undefined {
    const stored = storedSession(this.scratch.stateDir, sessionId);
    return stored === undefined ? undefined : { state: stored.state, reason: stored.end.reason };
  }

  /** The next coordinator, in the same world. */
  start(): Promise<Server> {
    return this.begin().up();
  }

  /** The same, as yet on its way. */
  begin(): Server {
    const { canLoad = true, switches = [], flags = [] } = this.#options;
    const next = coordinatorProcess({
      scratch: this.scratch,
      agent: stubAgent(...(canLoad ? ['--load'] : []), ...switches),
      flags: [...QUICK, ...flags, ...(this.hold?.flags ?? [])],
    });
    this.#server = next;
    return next;
  }

  /** Kills one by its pid, and starts nothing in its place. @throws Error when there is none within a while. */
  async kill(victim: Victim): Promise<void> {
    if (victim === 'coordinator') return this.server.kill();
    this.faults.push(`kill the ${victim}`);
    const blow = () => (victim === 'daemon' ? this.#signalDaemon('SIGKILL') : this.#killAgent());
    await eventually(`a living ${victim}`, blow, 5000);
  }

  witness(workspace = 0): Witness {
    const path = this.scratch.workspaces[workspace] ?? '';
    const witness = new Witness(`client ${this.witnesses.length + 1}`, this, path);
    this.witnesses.push(witness);
    return witness;
  }

  pick<T>(from: readonly T[]): T {
    return from[Math.floor(this.random() * from.length)] as T;
  }

  daemons(): FoundProcess[] {
    return daemonsIn(this.scratch);
  }

  agents(): FoundProcess[] {
    return agentsIn(this.scratch);
  }

  /**
   * Does it, and brings a coordinator back where there is none.
   * @returns when the blow had fallen, on performance.now's scale: what was asked for later met its consequences.
   */
  async fault(fault: Fault): Promise<number> {
    const coordinator = this.server;
    this.faults.push(fault);
    await this.#blow(fault, coordinator);
    const atMs = performance.now();
    if (coordinator.exit !== undefined) await this.start();
    return atMs;
  }

  /** Stops every daemon where it is (SIGSTOP), or lets it go on (SIGCONT). */
  signalDaemons(signal: 'SIGSTOP' | 'SIGCONT'): void {
    for (const { pid } of this.daemons()) this.#signal(pid, signal);
  }

  async #blow(fault: Fault, coordinator: Server): Promise<unknown> {
    switch (fault) {
      case 'kill the coordinator':
        return coordinator.kill();
      case 'kill a daemon':
        return this.#signalDaemon('SIGKILL');
      case 'kill an agent':
        return this.#killAgent();
      case 'freeze a daemon':
        return this.#signalDaemon('SIGSTOP');
      case 'remove a socket file':
        return this.#removeSocket();
      case 'kill the coordinator and a daemon':
        this.#signalDaemon('SIGKILL');
        return coordinator.kill();
      case 'stop and start the coordinator':
        return coordinator.stop();
      case 'restart the daemons':
        return this.#operate(coordinator, '/admin/restart');
      case 'drain and undrain a workspace': {
        const at = `/admin/workspaces/${workspaceIdOf(this.pick(this.scratch.workspaces))}`;
        await this.#operate(coordinator, `${at}/drain`);
        return this.#operate(coordinator, `${at}/undrain`);
      }
    }
  }

  /** What an operator asks for in the midst of it all is done or refused with a reason. */
  async #operate({ baseUrl }: Server, path: string): Promise<void> {
    const json = path.endsWith('undrain') ? {} : { drainMs: OPERATOR_PATIENCE_MS };
    const { status, text } = await call(baseUrl, 'POST', path, { json });
    if (status !== 200) this.violations.push(`POST ${path}: ${status} ${text}`);
  }

  #signalDaemon(signal: NodeJS.Signals): boolean {
    const found = this.daemons();
    return found.length > 0 && this.#signal(this.pick(found).pid, signal);
  }

  /** Notes which one: its sessions, and no others, may end with it. */
  #killAgent(): boolean {
    const found = this.agents();
    if (found.length === 0) return false;
    const { pid } = this.pick(found);
    const kill = { incarnation: incarnationOf(pid), atMs: Date.now() };
    if (!this.#signal(pid, 'SIGKILL')) return false;
    this.agentKills.push(kill);
    return true;
  }

  /** @returns whether the process was there. */
  #signal(pid: number, signal: NodeJS.Signals): boolean {
    try {
      process.kill(pid, signal);
      return true;
    } catch {
      // It went between the look and the signal.
      return false;
    }
  }

  /**
   * Waits until every witness has completed a turn that it asked for after `atMs`, and until nothing of the dead is left.
   * @returns the milliseconds until the last one was served; what did not come true is a violation.
   */
  async recovered(what: string, atMs: number): Promise<number> {
    const ends = await Promise.all(
      this.witnesses.map((witness) =>
        eventually(
          `${witness.name} to be served after: ${what}`,
          () => witness.hasCompletedSince(atMs)?.endedAtMs,
          RECOVERY_MS,
        ).catch(async (error: Error) => {
          this.violations.push(`${error.message}; ${await this.#stateOf(witness)}`);
          return atMs;
        }),
      ),
    );
    await this.checkProcesses(what);
    return Math.max(...ends) - atMs;
  }

  /** One daemon a workspace, and no process of an incarnation that is gone. */
  async checkProcesses(what: string): Promise<void> {
    await eventually(
      `one daemon a workspace and no orphan after: ${what}`,
      () => misfitsIn(this.scratch).length === 0,
    ).catch(() => this.violations.push(`after ${what}: ${misfitsIn(this.scratch).join('; ')}`));
  }

  /** Two living daemons of one workspace at this moment: never right, whatever goes on. */
  twins(): string[] {
    return twinsIn(this.scratch);
  }

  /** Ends the witnesses, then judges every session and prompt that was ever acknowledged. */
  async judge(): Promise<Totals> {
    await Promise.all(this.witnesses.map((witness) => witness.rest()));
    await Promise.all(this.witnesses.map((witness) => witness.stop()));
    for (const witness of this.witnesses) this.violations.push(...witness.violations);
    await this.#everyPromptSettles();
    const prompts = this.witnesses.flatMap((witness) => witness.prompts);
    const fates = prompts.map((prompt) => fateOf(this.scratch.stateDir, prompt));
    const count = (fate: string) => fates.filter((each) => each === fate).length;
    for (const [index, { promptId, sessionId }] of prompts.entries())
      if (fates[index] === 'lost')
        this.violations.push(`prompt ${promptId} of ${sessionId} was acknowledged and has no end`);
    const sessions = this.witnesses.flatMap((witness) => witness.sessions);
    for (const sessionId of sessions) await this.#judgeSession(sessionId);
    return {
      sessions: sessions.length,
      replaced: this.witnesses.flatMap(({ replaced }) => replaced),
      acknowledged: prompts.length,
      completed: count('completed'),
      reported: count('reported'),
      storedOnly: count('stored'),
      lost: count('lost'),
    };
  }

  /** Ends the coordinator in order and proves that nothing is left. */
  async end(): Promise<void> {
    const { code } = await this.server.stop();
    if (code !== 0) this.violations.push(`the orderly end had exit code ${code}`);
    await eventually('an empty world', () => this.scratch.processes().length === 0, 5000).catch(() =>
      this.violations.push(
        ...this.scratch.processes().map(({ pid, command }) => `left behind: ${pid} ${command}`),
      ),
    );
  }

  async #everyPromptSettles(): Promise<void> {
    const open = () =>
      rowsOf(this.scratch.stateDir, 'SELECT prompt_id FROM prompts WHERE settled_at_ms IS NULL');
    await eventually('the end of every prompt', () => open().length === 0, RECOVERY_MS).catch(() =>
      this.violations.push(...open().map(({ prompt_id }) => `prompt ${prompt_id} never ended`)),
    );
  }

  /** It answers to whoever wants to go on in it, or a fault has ended it. */
  async #judgeSession(sessionId: string): Promise<void> {
    const loss = lossOf(this.scratch.stateDir, sessionId, this);
    if (loss !== undefined) this.violations.push(loss);
    if (this.endOf(sessionId)?.state === 'closed') return;
    const path = `/session/${sessionId}/load`;
    let last = '';
    await eventually(
      `session ${sessionId}`,
      async () => {
        const { status, text } = await call(this.server.baseUrl, 'POST', path, { json: {} });
        last = `${status} ${text}`;
        return !LATER.has(status);
      },
      RECOVERY_MS,
    ).catch(() => undefined);
    if (!last.startsWith('200 '))
      this.violations.push(
        `session ${sessionId} (${this.endOf(sessionId)?.state}) answers a load with ${last}`,
      );
  }

  #removeSocket(): void {
    const below = readdirSync(join(this.scratch.dir, 'run'), { recursive: true }) as string[];
    const sockets = below.filter((name) => /[0-9a-f]{16}-\d+\.sock$/.test(name));
    if (sockets.length > 0) unlinkSync(join(this.scratch.dir, 'run', this.pick(sockets)));
  }

  async #stateOf(witness: Witness): Promise<string> {
    const { sessionId } = witness;
    const stored = this.endOf(sessionId ?? '');
    const fleet = await this.server.diagnostics().catch(() => []);
    const told = fleet
      .filter(({ cwd }) => cwd === witness.workspace)
      .map(({ state, incarnation, pid, sessions, waiters }) => ({
        state,
        incarnation,
        pid,
        sessions,
        waiters,
      }));
    return JSON.stringify({ sessionId, stored, last: witness.prompts.at(-1), told });
  }
}
