// One agent process: spawns it as the leader of its own process group, logs its stderr and keeps the last lines, and ends it with
// every process that it started. Knows nothing of ACP.
import { type ChildProcessByStdio, spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import type { Readable, Writable } from 'node:stream';
import type { Clock } from '../contract/clock.ts';
import type { FeedAgent } from '../contract/feed.ts';
import { type Log, truncated } from '../contract/log.ts';
import { readProcStat } from '../contract/proc.ts';
import { type AgentExit, AgentMissing } from './agent.ts';
import { LineSplitter } from './lines.ts';
import { CHILD_MARK_ENV, ProcessTree } from './process-tree.ts';

export interface ChildOptions {
  /** Absolute program path and its arguments. */
  readonly command: readonly string[];
  /** Canonical workspace path. */
  readonly cwd: string;
  /** The whole environment, already stripped of the variables that the agent must not see. */
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly stdinGraceMs: number;
  readonly killGraceMs: number;
  /** How long to wait for the last output of an ended process, whose descendants may keep its pipes open. */
  readonly drainMs: number;
  readonly clock: Clock;
  readonly log: Log;
}

const STDERR_LINE_BYTES = 8 * 1024;
const STDERR_LINE_CHARS = 2048;
const LAST_LINES = 20;
/** How long killed processes may take to be gone. Only a process in uninterruptible sleep takes longer. */
const KILL_SETTLE_MS = 2000;
const FIRST_POLL_MS = 4;
const LONGEST_POLL_MS = 128;

type Process = ChildProcessByStdio<Writable, Readable, Readable>;

/**
 * Starts an agent process. Where the system reports a refusal only after this call, the child's `started` rejects.
 * @throws AgentMissing where the system refuses at once (an argument list that is too long, no memory, no descriptors).
 */
export function startChild(options: ChildOptions): AgentChild {
  try {
    return new AgentChild(options);
  } catch (error) {
    throw missing(options, error as NodeJS.ErrnoException);
  }
}

function missing(options: ChildOptions, error: NodeJS.ErrnoException): AgentMissing {
  const program = options.command[0] ?? '';
  const why = error.code ?? error.message;
  return new AgentMissing(
    program,
    `cannot start the agent: ${program}: ${why} (working directory ${options.cwd})`,
  );
}

export class AgentChild {
  readonly #options: ChildOptions;
  readonly #process: Process;
  readonly #tree: ProcessTree | undefined;
  readonly #lastLines: string[] = [];
  /** Resolves when the process exists. Rejects with AgentMissing when the system refused to start it. */
  readonly started: Promise<void>;
  /** Resolves once the process has ended and its output has been read. Never rejects. */
  readonly exited: Promise<AgentExit>;
  /** Pid, process group and start time of the process; pid 0 when the process never existed. */
  readonly identity: Omit<FeedAgent, 'canLoad'>;
  #hasExited = false;
  #isPlanned = false;
  #ending: Promise<void> | undefined;

  constructor(options: ChildOptions) {
    this.#options = options;
    const [program = '', ...args] = options.command;
    const mark = randomUUID();
    this.#process = spawn(program, args, {
      cwd: options.cwd,
      env: { ...options.env, [CHILD_MARK_ENV]: mark },
      stdio: ['pipe', 'pipe', 'pipe'],
      // Gives the child a session and process group of its own: a terminal's Ctrl-C does not reach the child, and one signal to
      // the group also reaches the child's children.
      detached: true,
    });
    const pid = this.#process.pid ?? 0;
    const startTime = readProcStat(pid)?.startTime ?? 0;
    this.identity = { pid, pgid: pid, startTime };
    this.#tree = pid === 0 ? undefined : new ProcessTree(pid, startTime, mark);
    this.started = this.#watchStart();
    this.exited = this.#watchExit();
    this.#drainStderr();
    this.#process.stdin.on('error', () => undefined);
  }

  get stdin(): Writable {
    return this.#process.stdin;
  }

  get stdout(): Readable {
    return this.#process.stdout;
  }

  /** False from the moment in which the daemon saw the process exit, which is before `exited` resolves. */
  get isAlive(): boolean {
    return !this.#hasExited;
  }

  /**
   * Ends the process and every process that it started: closed stdin, SIGTERM, SIGKILL, each after its grace. Resolves when all
   * of them are gone. Idempotent.
   * @param isPlanned whether the daemon wanted the end; `exited` reports true if any call before the exit said so.
   */
  end(isPlanned: boolean): Promise<void> {
    if (!this.#hasExited) this.#isPlanned ||= isPlanned;
    this.#ending ??= this.#end();
    return this.#ending;
  }

  /** Kills the whole process tree now. Synchronous, for exit handlers. @param isPlanned as for `end`. */
  killNow(isPlanned: boolean): void {
    if (!this.#hasExited) this.#isPlanned ||= isPlanned;
    this.#tree?.signal('SIGKILL');
  }

  async #end(): Promise<void> {
    const tree = this.#tree;
    if (tree === undefined) return;
    // Keeps the daemon's process running until the child has ended: the timers of `clock` do not keep it running.
    const keepAlive = setInterval(() => undefined, 2 ** 30);
    try {
      tree.observe();
      this.#process.stdin.end();
      await this.#exitWithin(this.#options.stdinGraceMs);
      if (tree.isGone()) return;
      tree.signal('SIGTERM');
      if (await this.#goneWithin(tree, this.#options.killGraceMs)) return;
      tree.signal('SIGKILL');
      if (await this.#goneWithin(tree, KILL_SETTLE_MS, () => tree.signal('SIGKILL'))) return;
      this.#options.log.error({ agentPid: this.identity.pid }, 'processes of the agent survived SIGKILL');
    } finally {
      clearInterval(keepAlive);
      // Lets the last output be read before the pipes are closed; a descendant of the child may still keep them open.
      if (this.#hasExited) await this.exited;
      this.#process.stdout.destroy();
      this.#process.stderr.destroy();
    }
  }

  #watchStart(): Promise<void> {
    const started = new Promise<void>((resolve, reject) => {
      this.#process.once('spawn', resolve);
      this.#process.once('error', (error) => reject(missing(this.#options, error)));
    });
    // Prevents an unhandled rejection where the child is ended before the caller awaits `started`.
    started.catch(() => undefined);
    return started;
  }

  #watchExit(): Promise<AgentExit> {
    return new Promise((resolve) => {
      const settle = (code: number | null, signal: string | null) => {
        if (this.#hasExited) return;
        this.#hasExited = true;
        this.#tree?.leaderExited();
        void this.#drained().then(() => {
          resolve({ code, signal, isPlanned: this.#isPlanned, lastLines: [...this.#lastLines] });
          return this.end(false);
        });
      };
      // Listens for `exit` and not for `close`, which waits for the pipes: a grandchild that keeps stdout open would hide the
      // child's exit.
      this.#process.once('exit', settle);
      this.#process.once('error', () => settle(null, null));
    });
  }

  /** Waits until stdout and stderr have ended, at most `drainMs`. */
  async #drained(): Promise<void> {
    if (this.#tree === undefined) return;
    const { stdout, stderr } = this.#process;
    // Resumes stdout, whose reader may have paused it: otherwise the last output, at most a pipe's worth, would never arrive.
    stdout.resume();
    await Promise.race([Promise.all([ended(stdout), ended(stderr)]), this.#pause(this.#options.drainMs)]);
    // Gives reads one more round: timers run before reads, so after a blocked event loop `drainMs` may be over before any read.
    await new Promise((resolve) => setImmediate(resolve));
  }

  #drainStderr(): void {
    const take = (line: string) => {
      if (line.trim() === '') return;
      const short = truncated(line, STDERR_LINE_CHARS);
      this.#lastLines.push(short);
      if (this.#lastLines.length > LAST_LINES) this.#lastLines.shift();
      this.#options.log.info({ agentPid: this.identity.pid, line: short }, 'agent stderr');
    };
    const splitter = new LineSplitter({ maxBytes: STDERR_LINE_BYTES, onLine: take, onOverflow: take });
    this.#process.stderr.on('data', (chunk: Buffer) => splitter.push(chunk));
    this.#process.stderr.on('end', () => splitter.end());
    this.#process.stderr.on('error', () => undefined);
  }

  async #exitWithin(graceMs: number): Promise<void> {
    if (this.#hasExited) return;
    const exit = new Promise<void>((resolve) => this.#process.once('exit', () => resolve()));
    await Promise.race([exit, this.#pause(graceMs)]);
  }

  async #goneWithin(tree: ProcessTree, graceMs: number, again?: () => void): Promise<boolean> {
    const deadline = this.#options.clock.monotonicMs() + graceMs;
    for (let waitMs = FIRST_POLL_MS; !tree.isGone(); waitMs = Math.min(waitMs * 2, LONGEST_POLL_MS)) {
      const leftMs = deadline - this.#options.clock.monotonicMs();
      if (leftMs <= 0) return false;
      again?.();
      await this.#pause(Math.min(waitMs, leftMs));
    }
    return true;
  }

  #pause(ms: number): Promise<void> {
    return new Promise((resolve) => {
      this.#options.clock.after(ms, resolve);
    });
  }
}

function ended(stream: Readable): Promise<void> {
  if (stream.readableEnded || stream.destroyed) return Promise.resolve();
  return new Promise((resolve) => stream.once('close', resolve));
}
