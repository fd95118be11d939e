// A temporary world for server processes: state, home, sockets and workspaces below one short path. The path is in the
// environment of whatever is started in it, to the grandchild, so that at the end everything can be found and counted.
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, realpathSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { isAlive, readProcStat } from '../../daemon/contract/proc.ts';
import { eventually } from './eventually.ts';

export interface FoundProcess {
  readonly pid: number;
  readonly command: string;
}

export class Scratch {
  /** Short: the sockets below it have to stay under 100 bytes. */
  readonly dir = mkdtempSync(join(realpathSync(tmpdir()), 'qf-'));
  readonly stateDir = join(this.dir, 'state');
  /** Canonical. */
  readonly workspaces: readonly string[];

  constructor(workspaces: number) {
    for (const name of ['home', 'run']) mkdirSync(join(this.dir, name), { mode: 0o700 });
    this.workspaces = Array.from({ length: workspaces }, (_, index) => this.#workspace(index));
  }

  /** The environment of a server: nothing of the test runner's but PATH. */
  get env(): Record<string, string> {
    return {
      PATH: process.env.PATH ?? '',
      HOME: join(this.dir, 'home'),
      XDG_RUNTIME_DIR: join(this.dir, 'run'),
    };
  }

  /** Living processes that were started here, or by something that was. */
  processes(): FoundProcess[] {
    return readdirSync('/proc')
      .filter((name) => /^\d+$/.test(name))
      .map(Number)
      .filter((pid) => pid !== process.pid && this.#holds(pid))
      .map((pid) => ({ pid, command: readFile(pid, 'cmdline').replaceAll('\0', ' ').trim() }));
  }

  /** Kills every process of this world by its pid and waits until they are gone. */
  async killAll(): Promise<void> {
    await eventually('the end of killed processes', () => {
      const left = this.processes();
      for (const { pid } of left) kill(pid);
      return left.length === 0;
    });
  }

  remove(): void {
    rmSync(this.dir, { recursive: true, force: true });
  }

  #workspace(index: number): string {
    const path = join(this.dir, `ws-${index + 1}`);
    mkdirSync(path);
    return path;
  }

  #holds(pid: number): boolean {
    const stat = readProcStat(pid);
    if (stat === undefined || !isAlive(stat)) return false;
    return readFile(pid, 'environ').includes(this.dir) || readFile(pid, 'cmdline').includes(this.dir);
  }
}

/** Signals one process. @throws Error where no pid is known: 0 would be the whole process group of the test runner. */
export function signalPid(pid: number | null | undefined, signal: NodeJS.Signals): void {
  if (!pid) throw new Error(`no process to send ${signal}`);
  process.kill(pid, signal);
}

/** Whether the pid is a living process; a zombie is none. */
export function isRunning(pid: number): boolean {
  const stat = readProcStat(pid);
  return stat !== undefined && isAlive(stat);
}

function readFile(pid: number, name: 'environ' | 'cmdline'): string {
  try {
    return readFileSync(`/proc/${pid}/${name}`, 'utf8');
  } catch {
    // Gone meanwhile, or another user's: not ours either way.
    return '';
  }
}

function kill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // Gone between the look and the signal.
  }
}
