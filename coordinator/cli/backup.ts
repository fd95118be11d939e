// `qwen-coordinator backup`: has the running coordinator copy its database, and checks the copy here, where the check
// holds up nobody.
import { resolve } from 'node:path';
import { checkDatabaseFile } from '../store/integrity.ts';
import { askCoordinator } from './admin-client.ts';
import type { AdminTarget } from './admin-socket.ts';
import { CommandError, EXIT } from './exit-codes.ts';
import type { Runtime } from './runtime.ts';

/** A database of some GB on a slow disk. */
const BACKUP_TIMEOUT_MS = 10 * 60_000;

/** @throws CommandError `notRunning`; `usage` when the file exists or cannot be written; `unexpected` when it is not sound. */
export async function backup(target: AdminTarget, given: string, runtime: Runtime): Promise<void> {
  const file = resolve(runtime.cwd, given);
  const answer = await askCoordinator(target, 'POST', '/admin/backup', {
    body: { file },
    timeoutMs: BACKUP_TIMEOUT_MS,
  });
  try {
    checkDatabaseFile(file);
  } catch (error) {
    throw new CommandError(EXIT.unexpected, `do not rely on this backup: ${(error as Error).message}`);
  }
  const { bytes, sessions, ms } = answer;
  runtime.print(`${file}: ${bytes} bytes, ${sessions} sessions, written in ${ms} ms, checked\n`);
}
