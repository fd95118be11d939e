// `qwen-coordinator sweep`: ends the daemons that a coordinator which no longer runs has left. For a service manager's
// clean-up after a deliberate stop that was cut short; nothing is signalled that is not proven to be ours.
import { join } from 'node:path';
import { systemClock } from '../../daemon/contract/clock.ts';
import { adminSocketPath, DATABASE_FILE } from '../app.ts';
import type { Config } from '../config.ts';
import { readBootId } from '../launch/identity.ts';
import type { DaemonMark } from '../launch/launcher.ts';
import { createProcessLauncher } from '../launch/process.ts';
import { acquireStateLock, StateDirLocked } from '../store/lock.ts';
import { openStore } from '../store/open.ts';
import type { DaemonRow } from '../store/store.ts';
import { CommandError, EXIT } from './exit-codes.ts';
import type { Runtime } from './runtime.ts';

/** @throws CommandError `taken` while a coordinator runs on the state directory. */
export async function sweep(config: Config, runtime: Runtime): Promise<void> {
  const { stateDir } = adminSocketPath(config.stateDir, runtime.runtimeBases);
  const lock = takeLock(stateDir);
  const log = runtime.createLog(config.logLevel);
  const store = openStore({ path: join(stateDir, DATABASE_FILE), clock: systemClock, log });
  const bootId = readBootId();
  const { daemonCommand, daemonEnv: env } = runtime;
  const launcher = createProcessLauncher({ daemonCommand, env, clock: systemClock, log, bootId });
  try {
    for (const row of store.daemons.unended()) {
      const found = await launcher.adopt(markOf(row));
      if (found.verdict === 'unverifiable') {
        runtime.say(`left alone: ${row.incarnation}, ${found.why}\n`);
        continue;
      }
      const exit =
        found.verdict === 'alive' ? await found.process.terminate(config.supervise.stopGraceMs) : undefined;
      store.daemons.setEnded(row.incarnation, {
        atMs: systemClock.nowMs(),
        code: exit?.code ?? null,
        signal: exit?.signal ?? null,
        reason: 'swept',
        sessionReason: 'daemon_stopped',
      });
      runtime.say(`${found.verdict === 'alive' ? 'ended' : 'was gone'}: ${row.incarnation}\n`);
    }
  } finally {
    store.close();
    lock.release();
  }
}

function takeLock(stateDir: string) {
  try {
    return acquireStateLock(stateDir, { pid: process.pid });
  } catch (error) {
    if (error instanceof StateDirLocked) throw new CommandError(EXIT.taken, error.message);
    throw error;
  }
}

function markOf(row: DaemonRow): DaemonMark {
  const { incarnation, bootId, socketPath, secret } = row;
  return { incarnation, bootId, pid: row.pid ?? 0, startTime: row.startTime ?? 0, socketPath, secret };
}
