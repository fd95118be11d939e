// The built binaries as child processes of a test: a coordinator with its daemons, or a bare daemon. Whoever starts one
// registers `endFleets` in afterEach or afterAll, which also proves that nothing is left behind.
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import type { FeedAgent } from '../../daemon/contract/feed.ts';
import { within } from './eventually.ts';
import { Scratch } from './scratch.ts';

/** Where the binaries are; another directory lets the same suites judge an installed package. */
const DIST = process.env.QWEN_TEST_DIST ?? fileURLToPath(new URL('../../dist', import.meta.url));
const STUB = fileURLToPath(new URL('./stub-agent.mjs', import.meta.url));
const START_TIMEOUT_MS = 60_000;
const STOP_TIMEOUT_MS = 60_000;

/** The scripted agent with some of its switches. */
export function stubAgent(...switches: readonly string[]): string {
  return ['node', STUB, ...switches].join(' ');
}

export interface ServerOptions {
  readonly agent?: string;
  readonly flags?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  /** The world of an earlier server, to go on in it. */
  readonly scratch?: Scratch;
}

export interface CoordinatorOptions extends ServerOptions {
  /** Number of workspaces; default 2. Ignored with `scratch`. */
  readonly workspaces?: number;
}

export interface ProcessExit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

export interface DiagnosedWorkspace {
  readonly id: string;
  readonly cwd: string;
  readonly state: string;
  readonly incarnation: string | null;
  readonly pid: number | null;
  readonly agent: FeedAgent | null;
  readonly sessions: number;
  readonly starts: number;
  readonly waiters: number;
}

/** A binary that was started, whether or not it came to listen. */
export class ServerProcess {
  readonly scratch: Scratch;
  readonly exited: Promise<ProcessExit>;
  readonly #child: ChildProcess;
  #stderr = '';
  #exit: ProcessExit | undefined;

  constructor(
    binary: string,
    args: readonly string[],
    scratch: Scratch,
    env: Readonly<Record<string, string>>,
  ) {
    this.scratch = scratch;
    this.#child = spawn(process.execPath, [binaryPath(binary), ...args], {
      cwd: scratch.dir,
      env: { ...scratch.env, ...env },
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    this.#child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.#stderr += text;
    });
    this.exited = new Promise((resolve) => {
      // 'close', not 'exit': only then is stderr complete.
      this.#child.once('close', (code, signal) => {
        this.#exit = { code, signal };
        resolve(this.#exit);
      });
    });
    started.push(this);
  }

  get pid(): number {
    return this.#child.pid ?? 0;
  }

  get workspaces(): readonly string[] {
    return this.scratch.workspaces;
  }

  get workspace(): string {
    return this.scratch.workspaces[0] as string;
  }

  get stateDir(): string {
    return this.scratch.stateDir;
  }

  /** Everything that it has written to stderr. */
  get stderr(): string {
    return this.#stderr;
  }

  /** How it ended, undefined while it runs. */
  get exit(): ProcessExit | undefined {
    return this.#exit;
  }

  /** Signals this process alone. */
  signal(signal: NodeJS.Signals): void {
    this.#child.kill(signal);
  }

  /** Kills this process alone and waits for its end. What it has started lives on. */
  async kill(): Promise<void> {
    this.signal('SIGKILL');
    await this.exited;
  }

  /** Asks for an orderly end and waits for it. @throws Error when it takes too long, with its last words. */
  async stop(): Promise<ProcessExit> {
    if (this.#exit === undefined) this.signal('SIGTERM');
    return this.ended();
  }

  /** Waits for its end. @throws Error when that takes too long, with its last words. */
  async ended(timeoutMs = STOP_TIMEOUT_MS): Promise<ProcessExit> {
    return within(`the end of pid ${this.pid}\n${this.#stderr.slice(-2000)}`, timeoutMs, this.exited);
  }

  /** Resolves with the URL that it says it listens on. @throws Error with its words when it ends first. */
  async listening(): Promise<string> {
    const url = () => /listening on (http:\/\/127\.0\.0\.1:\d+)/.exec(this.#stderr)?.[1];
    const said = new Promise<string>((resolve) => {
      const look = () => {
        const found = url();
        if (found !== undefined) resolve(found);
      };
      this.#child.stderr?.on('data', look);
      look();
    });
    const died = this.exited.then(({ code, signal }) => {
      throw new Error(`ended (${code ?? signal}) before it listened:\n${this.#stderr}`);
    });
    return within('the line "listening on"', START_TIMEOUT_MS, Promise.race([said, died]));
  }
}

/** A server that answers. */
export class Server extends ServerProcess {
  #baseUrl = '';

  get baseUrl(): string {
    return this.#baseUrl;
  }

  async up(): Promise<this> {
    this.#baseUrl = await this.listening();
    return this;
  }

  /** The operator's view. Only a coordinator has it. */
  async diagnostics(): Promise<readonly DiagnosedWorkspace[]> {
    const response = await fetch(`${this.#baseUrl}/admin/diagnostics`);
    const body = (await response.json()) as { readonly workspaces: readonly DiagnosedWorkspace[] };
    return body.workspaces;
  }

  /** The operator's view of one workspace, by its place in `workspaces`. */
  async diagnosis(index: number): Promise<DiagnosedWorkspace> {
    const cwd = this.workspaces[index];
    const found = (await this.diagnostics()).find((workspace) => workspace.cwd === cwd);
    if (found === undefined) throw new Error(`no workspace ${index} in the diagnostics`);
    return found;
  }
}

const started: ServerProcess[] = [];

/** Short waits, so that tests of ends do not wait for turns that never end. Flags of the test come later and win. */
const QUICK_COORDINATOR = [
  '--drain-timeout-ms',
  '200',
  '--stop-grace-ms',
  '8000',
  '--shutdown-grace-ms',
  '7000',
  '--stop-timeout-ms',
  '15000',
];
const QUICK_DAEMON = ['--agent-stdin-grace-ms', '300', '--agent-kill-grace-ms', '500'];

/** A coordinator on a free port, answering. */
export function startCoordinator(options: CoordinatorOptions = {}): Promise<Server> {
  return coordinatorProcess(options).up();
}

/** A coordinator that may refuse to start. */
export function coordinatorProcess(options: CoordinatorOptions = {}): Server {
  const scratch = options.scratch ?? newScratch('coordinator', options.workspaces ?? 2);
  const workspaces = scratch.workspaces.flatMap((path) => ['--workspace', path]);
  const where = ['--state-dir', scratch.stateDir, '--port', '0', ...workspaces];
  const args = [
    'start',
    ...where,
    '--agent',
    options.agent ?? stubAgent(),
    ...QUICK_COORDINATOR,
    ...QUICK_DAEMON,
  ];
  return new Server('coordinator', [...args, ...(options.flags ?? [])], scratch, options.env ?? {});
}

/** A bare daemon on a free port, answering. */
export function startDaemon(options: ServerOptions = {}): Promise<Server> {
  return daemonProcess(options).up();
}

/** A bare daemon that may refuse to start. */
export function daemonProcess(options: ServerOptions = {}): Server {
  const scratch = options.scratch ?? newScratch('daemon', 1);
  const where = ['--workspace', scratch.workspaces[0] as string, '--port', '0'];
  const args = [...where, '--agent', options.agent ?? stubAgent(), ...QUICK_DAEMON];
  return new Server('daemon', [...args, ...(options.flags ?? [])], scratch, options.env ?? {});
}

/**
 * Ends every server of this file in order, then everything that is left in their worlds.
 * @throws Error when an orderly end left a process behind; it is killed first. After a killed server leftovers are its
 *   test's own affair, and only their end is proven.
 */
export async function endFleets(): Promise<void> {
  const all = started.splice(0);
  const problems: string[] = [];
  const ends = await Promise.allSettled(all.map((server) => server.stop()));
  for (const end of ends) if (end.status === 'rejected') problems.push(String(end.reason));
  for (const scratch of new Set(all.map((server) => server.scratch))) {
    const wasKilled = all.some((server) => server.scratch === scratch && server.exit?.signal === 'SIGKILL');
    const left = scratch.processes();
    await scratch.killAll();
    scratch.remove();
    if (!wasKilled) problems.push(...left.map(({ pid, command }) => `left behind: ${pid} ${command}`));
  }
  if (problems.length > 0) throw new Error(problems.join('\n'));
}

/** A world for the binary. Where that is missing, none is made: nobody would remove it. */
function newScratch(binary: string, workspaces: number): Scratch {
  binaryPath(binary);
  return new Scratch(workspaces);
}

/** @throws Error when it has not been built. */
export function binaryPath(binary: string): string {
  const path = `${DIST}/${binary}/main.js`;
  if (!existsSync(path)) throw new Error(`${path} is missing: run "npm run build" first`);
  return path;
}
