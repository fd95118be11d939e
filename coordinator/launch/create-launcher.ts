// The only place that chooses the launcher, for the coordinator and for its commands: the process launcher.
import type { Clock } from '../../daemon/contract/clock.ts';
import type { Log } from '../../daemon/contract/log.ts';
import type { CgroupProbe } from './cgroup-probe.ts';
import { readBootId } from './identity.ts';
import type { Launcher } from './launcher.ts';
import { createProcessLauncher } from './process.ts';

export interface LauncherOptions {
  /** Canonical path of the state directory. */
  readonly stateDir: string;
  /** The directory of the daemons' sockets, from `runtimeDirOf` for this state directory. */
  readonly runtimeDir: string;
  /** Program and first arguments with which a daemon is started. */
  readonly daemonCommand: readonly string[];
  /** Environment of every daemon, from `strippedEnvironment`. */
  readonly daemonEnv: Readonly<Record<string, string>>;
  readonly cgroups: CgroupProbe;
  readonly clock: Clock;
  readonly log: Log;
  readonly limits?: LauncherLimits;
}

/** Limits that the running coordinator sets. A command that only ends daemons leaves them at their defaults. */
export interface LauncherLimits {
  /** How long the adoption of one daemon may take. */
  readonly adoptTimeoutMs: number;
  /** Size above which a daemon's log is rotated. */
  readonly maxLogBytes: number;
}

/** Share of `adoptTimeoutMs` in which a daemon has to answer the identity request; the rest is for reading the process table. */
const IDENTITY_SHARE = 0.8;

export function createLauncher(options: LauncherOptions): Launcher {
  const { stateDir, runtimeDir, daemonCommand, daemonEnv, cgroups, clock, log, limits } = options;
  return createProcessLauncher({
    stateDir,
    runtimeDir,
    daemonCommand,
    env: daemonEnv,
    clock,
    log,
    bootId: readBootId(),
    cgroups: cgroups.isUsable ? cgroups.cgroups : undefined,
    ...(limits !== undefined && {
      identityTimeoutMs: limits.adoptTimeoutMs * IDENTITY_SHARE,
      maxLogBytes: limits.maxLogBytes,
    }),
  });
}
