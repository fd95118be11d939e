// `qwen-coordinator backup`: has the running coordinator copy its database, and checks the copy in this process, where the check
// delays no request.
import { resolve } from 'node:path';
import { checkDatabaseFile } from '../store/integrity.ts';
import { askCoordinator } from './admin-client.ts';
import type { AdminTarget } from './admin-socket.ts';
import { CommandError, EXIT } from './exit-codes.ts';
import type { Runtime } from './runtime.ts';

/** Longest wait for the copy: enough for a database of some GB on a slow disk. */
const BACKUP_TIMEOUT_MS = 10 * 60_000;

/**
 * Writes a copy of the database to `given`, which must not exist, and checks the copy.
 * @throws CommandError `notRunning`; `usage` when the file exists or cannot be written; `unexpected` when the copy is damaged.
 */
export async function backup(
  target: AdminTarget,
  given: string,
  { cwd, print }: Pick<Runtime, 'cwd' | 'print'>,
): Promise<void> {
  const file = resolve(cwd, given);
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
  print(`${file}: ${bytes} bytes, ${sessions} sessions, written in ${ms} ms, checked\n`);
}
