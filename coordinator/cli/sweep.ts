// `qwen-coordinator sweep`: ends the daemons that a coordinator which no longer runs has left. For a service manager's
// clean-up after a deliberate stop that was cut short; nothing is signalled that is not proven to be ours.
import { join } from 'node:path';
import { systemClock } from '../../daemon/contract/clock.ts';
import { DATABASE_FILE } from '../app.ts';
import type { SweepConfig } from '../config.ts';
import { probeCgroups } from '../launch/cgroup-probe.ts';
import { findStateDir, runtimeDirOf } from '../launch/directories.ts';
import { readBootId } from '../launch/identity.ts';
import type { DaemonMark } from '../launch/launcher.ts';
import { createProcessLauncher } from '../launch/process.ts';
import { acquireStateLock } from '../store/lock.ts';
import { openStore } from '../store/open.ts';
import type { DaemonRow } from '../store/store.ts';
import { recoverLostDaemons } from '../supervise/lost-daemons.ts';
import type { Runtime } from './runtime.ts';

/** @throws StateDirLocked while a coordinator runs on the state directory; SchemaTooNew, UnusablePath. */
export async function sweep(config: SweepConfig, runtime: Runtime): Promise<void> {
  const stateDir = findStateDir(config.stateDir);
  if (stateDir === undefined) {
    runtime.say(`nothing to end: there is no state directory ${config.stateDir}\n`);
    return;
  }
  const lock = acquireStateLock(stateDir, { pid: process.pid });
  const log = runtime.createLog(config.logLevel);
  const store = openStore({ path: join(stateDir, DATABASE_FILE), clock: systemClock, log });
  const bootId = readBootId();
  const probe = probeCgroups();
  const cgroups = probe.isUsable ? probe.cgroups : undefined;
  const { daemonCommand, daemonEnv: env } = runtime;
  const launcher = createProcessLauncher({
    daemonCommand,
    runtimeDir: runtimeDirOf({ ...runtime.runtimeBases, uid: process.getuid?.() ?? 0, stateDir }),
    env,
    clock: systemClock,
    log,
    bootId,
    cgroups,
  });
  try {
    await recoverLostDaemons({ store, launcher, clock: systemClock, log })();
    for (const row of store.daemons.unended()) {
      const found = await launcher.adopt(markOf(row));
      if (found.verdict === 'unverifiable') {
        runtime.say(`left alone: ${row.incarnation}, ${found.why}\n`);
        continue;
      }
      const exit = found.verdict === 'alive' ? await found.process.terminate(config.stopGraceMs) : undefined;
      store.daemons.setEnded(row.incarnation, {
        atMs: systemClock.nowMs(),
        code: exit?.code ?? null,
        signal: exit?.signal ?? null,
        reason: 'swept',
        kind: 'stopped',
      });
      runtime.say(`${found.verdict === 'alive' ? 'ended' : 'was gone'}: ${row.incarnation}\n`);
    }
  } finally {
    store.close();
    lock.release();
  }
}

function markOf(row: DaemonRow): DaemonMark {
  const { incarnation, bootId, socketPath, secret } = row;
  return { incarnation, bootId, pid: row.pid ?? 0, startTime: row.startTime ?? 0, socketPath, secret };
}
