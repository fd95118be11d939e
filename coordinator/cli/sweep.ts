// `qwen-coordinator sweep`: ends the daemons left behind by a coordinator that no longer runs. For a service manager's clean-up
// after a deliberate stop that was cut short. Signals only processes that are proven to belong to such a daemon.
import { join } from 'node:path';
import { systemClock } from '../../daemon/contract/clock.ts';
import { messageOf } from '../../daemon/contract/errors.ts';
import type { Log } from '../../daemon/contract/log.ts';
import { DATABASE_FILE } from '../app.ts';
import type { SweepConfig } from '../config.ts';
import { probeCgroups } from '../launch/cgroup-probe.ts';
import { createLauncher } from '../launch/create-launcher.ts';
import { findStateDir, runtimeDirOf } from '../launch/directories.ts';
import type { Launcher, Whereabouts } from '../launch/launcher.ts';
import { acquireStateLock } from '../store/lock.ts';
import { openStore } from '../store/open.ts';
import type { DaemonRow, Store } from '../store/store.ts';
import { recoverLostDaemons } from '../supervise/supervisor/lost-daemons.ts';
import { bearerOf } from '../upstream/address.ts';
import type { Runtime } from './runtime.ts';

/**
 * Ends every daemon that the database has as running, and prints what became of each.
 * @throws StateDirLocked while a coordinator runs on the state directory; SchemaTooNew, CopyFailed, UnusablePath.
 */
export async function sweep(config: SweepConfig, runtime: Runtime): Promise<void> {
  const stateDir = findStateDir(config.stateDir);
  if (stateDir === undefined) {
    runtime.say(`nothing to end: there is no state directory ${config.stateDir}\n`);
    return;
  }
  const log = runtime.createLog(config.logLevel);
  const lock = acquireStateLock(stateDir, { pid: process.pid });
  try {
    const store = openStore({ path: join(stateDir, DATABASE_FILE), clock: systemClock, log });
    try {
      const launcher = launcherFor(stateDir, runtime, log);
      await recoverLostDaemons({ store, launcher, clock: systemClock, log })();
      for (const row of store.daemons.unended())
        runtime.say(`${await endDaemon(row, { store, launcher, stopGraceMs: config.stopGraceMs })}\n`);
    } finally {
      store.close();
    }
  } finally {
    lock.unlock();
  }
}

function launcherFor(stateDir: string, runtime: Runtime, log: Log): Launcher {
  const { daemonCommand, daemonEnv, runtimeBases } = runtime;
  const runtimeDir = runtimeDirOf({ ...runtimeBases, uid: process.getuid?.() ?? 0, stateDir });
  const cgroups = probeCgroups();
  return createLauncher({ stateDir, runtimeDir, daemonCommand, daemonEnv, cgroups, clock: systemClock, log });
}

/** Ends the daemon of a database row, and marks the row as ended. @returns what became of the daemon, for an operator to read. */
async function endDaemon(
  row: DaemonRow,
  { store, launcher, stopGraceMs }: { store: Store; launcher: Launcher; stopGraceMs: number },
): Promise<string> {
  const { incarnation } = row;
  const found = await find(row, launcher);
  if (found.verdict === 'unverifiable') return `left alone: ${incarnation}, ${found.why}`;
  const exit = found.verdict === 'alive' ? await found.process.terminate(stopGraceMs) : undefined;
  store.daemons.setEnded(incarnation, {
    atMs: systemClock.nowMs(),
    code: exit?.code ?? null,
    signal: exit?.signal ?? null,
    reason: 'swept',
    kind: 'stopped',
  });
  return `${found.verdict === 'alive' ? 'ended' : 'was gone'}: ${incarnation}`;
}

/** What became of the row's daemon. A row that cannot be read must not keep the daemons of the others from being ended. */
async function find(
  { incarnation, launchHandle: handle, secret }: DaemonRow,
  launcher: Launcher,
): Promise<Whereabouts> {
  try {
    return await launcher.adopt({ incarnation, handle, secret: bearerOf(secret) });
  } catch (error) {
    return { verdict: 'unverifiable', why: messageOf(error) };
  }
}
