// A fleet under faults: one coordinator after the other in one world, witnesses as clients, faults by name, and the
// invariants that hold whatever was done to it.
import { readdirSync, unlinkSync } from 'node:fs';
import { join } from 'node:path';
import { workspaceIdOf } from '../../daemon/contract/canonical-path.ts';
import { agentsIn, daemonsIn, misfitsIn, twinsIn } from './census.ts';
import { eventually } from './eventually.ts';
import { coordinatorProcess, type Server, stubAgent } from './fleet-process.ts';
import { type FoundProcess, Scratch } from './scratch.ts';
import { rowsOf } from './state-database.ts';
import { call } from './wire-client.ts';
import { type AcknowledgedPrompt, Witness } from './witness.ts';

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
  readonly random: () => number;
}

export interface Totals {
  readonly sessions: number;
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
  readonly #options: OrdealOptions;
  #server: Server | undefined;

  constructor(options: OrdealOptions) {
    this.#options = options;
    this.random = options.random;
    this.scratch = new Scratch(options.workspaces ?? 1);
  }

  get baseUrl(): string | undefined {
    return this.#server?.exit === undefined ? this.#server?.baseUrl || undefined : undefined;
  }

  get server(): Server {
    if (this.#server === undefined) throw new Error('no coordinator was started');
    return this.#server;
  }

  stateOf(sessionId: string): string | undefined {
    const row = rowsOf(
      this.scratch.stateDir,
      'SELECT state FROM sessions WHERE session_id = ?',
      sessionId,
    )[0];
    return row === undefined ? undefined : String(row.state);
  }

  /** The next coordinator, in the same world. */
  async start(): Promise<Server> {
    const next = coordinatorProcess({
      scratch: this.scratch,
      agent: stubAgent('--load', ...(this.#options.switches ?? [])),
      flags: [...QUICK, ...(this.#options.flags ?? [])],
    });
    this.#server = next;
    return next.up();
  }

  /** Kills one by its pid. @throws Error when there is none within a while. */
  async kill(victim: Victim): Promise<void> {
    if (victim === 'coordinator') return this.killCoordinator();
    const found = () => (victim === 'daemon' ? this.daemons() : this.agents());
    await eventually(`a living ${victim}`, () => this.signalOne(found(), 'SIGKILL'), 5000);
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
    await this.#blow(fault, coordinator);
    const atMs = performance.now();
    if (coordinator.exit !== undefined) await this.start();
    return atMs;
  }

  async killCoordinator(): Promise<void> {
    await this.fault('kill the coordinator');
  }

  async #blow(fault: Fault, coordinator: Server): Promise<unknown> {
    switch (fault) {
      case 'kill the coordinator':
        return coordinator.kill();
      case 'kill a daemon':
        return this.signalOne(this.daemons(), 'SIGKILL');
      case 'kill an agent':
        return this.signalOne(this.agents(), 'SIGKILL');
      case 'freeze a daemon':
        return this.signalOne(this.daemons(), 'SIGSTOP');
      case 'remove a socket file':
        return this.#removeSocket();
      case 'kill the coordinator and a daemon':
        this.signalOne(this.daemons(), 'SIGKILL');
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

  /** Signals one of them by its pid. */
  signalOne(found: readonly FoundProcess[], signal: NodeJS.Signals): boolean {
    if (found.length === 0) return false;
    try {
      process.kill(this.pick(found).pid, signal);
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
    const fates = prompts.map((prompt) => this.#fateOf(prompt));
    const count = (fate: string) => fates.filter((each) => each === fate).length;
    await this.#judgeSessions();
    return {
      sessions: this.witnesses.flatMap(({ sessions }) => sessions).length,
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

  #fateOf({ promptId, sessionId, ends }: AcknowledgedPrompt): 'completed' | 'reported' | 'stored' | 'lost' {
    if (ends[0] === 'turn_complete') return 'completed';
    if (ends.length > 0) return 'reported';
    const row = rowsOf(
      this.scratch.stateDir,
      'SELECT state, outcome FROM prompts WHERE prompt_id = ?',
      promptId,
    )[0];
    if (row?.state === 'completed' || row?.state === 'failed') return 'stored';
    this.violations.push(
      `prompt ${promptId} of ${sessionId} was acknowledged and is ${row?.state ?? 'unknown'}`,
    );
    return 'lost';
  }

  async #judgeSessions(): Promise<void> {
    for (const sessionId of this.witnesses.flatMap(({ sessions }) => sessions)) {
      const row = rowsOf(
        this.scratch.stateDir,
        'SELECT state, end_reason FROM sessions WHERE session_id = ?',
        sessionId,
      )[0];
      const isExplained = row?.state === 'closed' && row.end_reason !== null;
      const { status, text } = await call(this.server.baseUrl, 'GET', `/session/${sessionId}/status`);
      if (status !== 200 && !isExplained)
        this.violations.push(`session ${sessionId} (${row?.state ?? 'unknown'}) answers ${status} ${text}`);
    }
  }

  #removeSocket(): void {
    const below = readdirSync(join(this.scratch.dir, 'run'), { recursive: true }) as string[];
    const sockets = below.filter((name) => /[0-9a-f]{16}-\d+\.sock$/.test(name));
    if (sockets.length > 0) unlinkSync(join(this.scratch.dir, 'run', this.pick(sockets)));
  }

  async #stateOf(witness: Witness): Promise<string> {
    const { sessionId } = witness;
    const rows = rowsOf(
      this.scratch.stateDir,
      'SELECT state, end_reason FROM sessions WHERE session_id = ?',
      sessionId ?? '',
    );
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
    return JSON.stringify({ sessionId, rows, last: witness.prompts.at(-1), told });
  }
}
