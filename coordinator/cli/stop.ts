// `qwen-coordinator stop`: asks the running coordinator to end, with or without its daemons, and waits until its process is gone.
import { existsSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { askCoordinator } from './admin-client.ts';
import { type AdminTarget, findAdminSocket } from './admin-socket.ts';
import { CommandError, EXIT } from './exit-codes.ts';
import type { Runtime } from './runtime.ts';

const LOOK_EVERY_MS = 50;

/**
 * Resolves when the coordinator is gone.
 * @throws CommandError as `askCoordinator`; `unexpected` when it still runs after `timeoutMs`.
 */
export async function stop(
  target: AdminTarget,
  { timeoutMs, leavesDaemons }: { readonly timeoutMs: number; readonly leavesDaemons: boolean },
  { print }: Pick<Runtime, 'print'>,
): Promise<void> {
  const { path } = findAdminSocket(target);
  const { pid } = await askCoordinator(target, 'GET', '/admin/status');
  await askCoordinator(target, 'POST', '/admin/stop', { body: { leaveDaemons: leavesDaemons } });
  const deadline = performance.now() + timeoutMs;
  while (isAlive(Number(pid)) || existsSync(path)) {
    if (performance.now() > deadline)
      throw new CommandError(
        EXIT.unexpected,
        `the coordinator (pid ${pid}) is still running after ${timeoutMs} ms`,
      );
    await sleep(LOOK_EVERY_MS);
  }
  print(leavesDaemons ? 'stopped; its daemons keep running\n' : 'stopped\n');
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}
