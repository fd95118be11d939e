// The one choice of the launcher that a coordinator and its commands work with.
import type { Clock } from '../../daemon/contract/clock.ts';
import type { Log } from '../../daemon/contract/log.ts';
import type { CgroupProbe } from './cgroup-probe.ts';
import { readBootId } from './identity.ts';
import type { Launcher } from './launcher.ts';
import { createProcessLauncher } from './process.ts';

export interface LauncherOptions {
  /** Canonical path. */
  readonly stateDir: string;
  /** The directory of this state directory's sockets. */
  readonly runtimeDir: string;
  /** Program and first arguments of a daemon. */
  readonly daemonCommand: readonly string[];
  /** Environment for daemons, stripped of the coordinator's secrets. */
  readonly daemonEnv: Readonly<Record<string, string>>;
  readonly cgroups: CgroupProbe;
  readonly clock: Clock;
  readonly log: Log;
  readonly limits?: LauncherLimits;
}

/** Limits that a command which only ends daemons leaves at their defaults. */
export interface LauncherLimits {
  /** How long one adoption may take. */
  readonly adoptTimeoutMs: number;
  /** A daemon's log that is larger is rotated. */
  readonly maxLogBytes: number;
}

/** Share of an adoption's deadline in which a daemon has to say who it is; the rest is for looking at its process. */
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
