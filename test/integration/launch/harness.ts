// Daemons for tests of the launcher: everything that a test started is ended after it, to the last descendant.
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Cgroups } from '../../../coordinator/launch/cgroup.ts';
import { readBootId } from '../../../coordinator/launch/identity.ts';
import type { KnownDaemon, Launch, LaunchHandle, LaunchSpec } from '../../../coordinator/launch/launcher.ts';
import { createProcessLauncher, type ProcessLauncherOptions } from '../../../coordinator/launch/process.ts';
import { type DaemonMark, markFrom } from '../../../coordinator/launch/process-handle.ts';
import { signalProcess } from '../../../coordinator/launch/process-tree.ts';
import { systemClock } from '../../../daemon/contract/clock.ts';
import { DEFAULT_LIMITS } from '../../../daemon/contract/limits.ts';
import { createLog } from '../../../daemon/contract/log.ts';
import { isAlive, readProcStat } from '../../../daemon/contract/proc.ts';

const FAKE_DAEMON = fileURLToPath(new URL('../../support/fake-daemon.mjs', import.meta.url));

export interface Script {
  readonly answer?: 'ready' | 'refuse' | 'garbage' | 'flood' | 'never' | 'exit' | 'other-incarnation';
  readonly identity?: 'own' | 'other' | 'other-then-mute' | 'mute';
  readonly ignoreTerm?: boolean;
  readonly agent?: boolean;
  /** Runs this shell script as the agent instead. */
  readonly agentScript?: string;
}

export const silent = createLog('test', 'silent');

/** Polls until `probe` gives a value. */
export async function eventually<T>(probe: () => T | undefined | false, timeoutMs = 20_000): Promise<T> {
  const deadline = performance.now() + timeoutMs;
  for (;;) {
    const value = probe();
    if (value !== undefined && value !== false) return value;
    if (performance.now() > deadline) throw new Error(`not within ${timeoutMs} ms: ${probe}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

/** Moves a process into a cgroup of that path. Tries again where a start elsewhere took it for one that was left empty. */
export function moveInto(path: string, pid: number): void {
  for (let attempt = 1; ; attempt += 1) {
    try {
      mkdirSync(path, { recursive: true });
      writeFileSync(join(path, 'cgroup.procs'), String(pid));
      return;
    } catch (error) {
      const isGone = ['ENOENT', 'ENODEV'].includes((error as NodeJS.ErrnoException).code ?? '');
      if (!isGone || attempt === 5) throw error;
    }
  }
}

/** The process of a daemon of this launcher. */
export function markOf({ handle }: { readonly handle: LaunchHandle }): DaemonMark {
  return markFrom(handle);
}

export function isRunning(pid: number): boolean {
  const stat = readProcStat(pid);
  return stat !== undefined && isAlive(stat);
}

export class Bench {
  readonly dir = mkdtempSync(join(tmpdir(), 'qc-launch-'));
  // Unique over runs and benches: whatever carries it was started by this test.
  readonly incarnation = `${Date.now().toString(16).padStart(16, '0')}-${process.pid}`;
  readonly socketPath = join(this.dir, `${this.incarnation}.sock`);
  readonly logPath = join(this.dir, 'logs', `${this.incarnation.slice(0, 16)}.log`);
  #launches: Launch[] = [];
  #orphans: LaunchHandle[] = [];
  readonly #cgroups: Cgroups | undefined;

  /** Daemons get cgroups below `cgroups`; by default none, so that the process table alone is tried. */
  constructor(cgroups?: Cgroups) {
    this.#cgroups = cgroups;
  }

  options(script: Script = {}): ProcessLauncherOptions {
    return {
      daemonCommand: [process.execPath, FAKE_DAEMON, JSON.stringify(script)],
      runtimeDir: this.dir,
      stateDir: this.dir,
      env: { PATH: process.env.PATH ?? '/usr/bin:/bin' },
      clock: systemClock,
      log: silent,
      bootId: readBootId(),
      cgroups: this.#cgroups,
      pollMs: 20,
      identityTimeoutMs: 300,
      sweepTimeoutMs: 3000,
    };
  }

  launcher(script: Script = {}, more: Partial<ProcessLauncherOptions> = {}) {
    return createProcessLauncher({ ...this.options(script), ...more });
  }

  spec(): LaunchSpec {
    return {
      workspaceId: this.incarnation.slice(0, 16),
      workspacePath: '/',
      incarnation: this.incarnation,
      secret: 'only-between-us',
      bridge: {
        agent: 'none',
        permissionPolicy: 'first-responder',
        consensusQuorum: null,
        rateLimit: false,
        limits: DEFAULT_LIMITS,
        logLevel: 'silent',
      },
    };
  }

  start(script: Script = {}): Launch {
    const launcher = this.launcher(script);
    const launch = launcher.start(launcher.plan(this.spec()), this.spec());
    this.#launches.push(launch);
    return launch;
  }

  /** A daemon that somebody else started for this bench is ended with it. */
  endsToo(handle: LaunchHandle): void {
    this.#orphans.push(handle);
  }

  /** The daemon of this handle, as a coordinator knows it from its store. */
  known(handle: LaunchHandle): KnownDaemon {
    return { incarnation: this.incarnation, handle, secret: this.spec().secret };
  }

  /** The daemon's agent and everything below it, once all of them have said their pids. */
  agentPids(count = 5): Promise<number[]> {
    return eventually(() => {
      const log = readFileSync(this.logPath, 'utf8');
      const pids = [...log.matchAll(/^child (\d+)\b/gm)].map((match) => Number(match[1]));
      return log.includes('agent is up') && pids.length >= count && pids;
    });
  }

  async close(): Promise<void> {
    await Promise.all(this.#launches.map(({ process }) => process.terminate(0)));
    for (const handle of this.#orphans) signalProcess(markFrom(handle), 'SIGKILL');
    // A dead daemon's adoption ends its strays.
    await Promise.all(this.#orphans.map((handle) => this.launcher().adopt(this.known(handle))));
    rmSync(this.dir, { recursive: true, force: true });
  }
}
