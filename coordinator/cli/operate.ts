// `drain`, `undrain`, `restart`, `workspace set`: the commands with which an operator changes the running fleet.
import { resolve } from 'node:path';
import { isWorkspaceId } from '../../daemon/contract/canonical-path.ts';
import { askCoordinator } from './admin-client.ts';
import type { AdminTarget } from './admin-socket.ts';
import { CommandError, EXIT } from './exit-codes.ts';
import type { Runtime } from './runtime.ts';
import { table } from './table.ts';

/**
 * `drain` and `restart` wait for the answer without a deadline. It comes when the daemons are gone, and only the coordinator
 * knows how long that may take: up to a drain timeout for each daemon. A command that gave up would not stop the coordinator.
 */
const UNTIL_DONE = 'none';

type OperatorRuntime = Pick<Runtime, 'cwd' | 'print'>;

/** Has the coordinator refuse new work in the workspace; resolves when the workspace's daemon is gone. @throws CommandError */
export async function drain(
  target: AdminTarget,
  workspace: string,
  options: { readonly reason: string | undefined; readonly drainMs: number | undefined },
  runtime: OperatorRuntime,
): Promise<void> {
  await askCoordinator(target, 'POST', `${pathOf(workspace, runtime)}/drain`, {
    body: options,
    timeoutMs: UNTIL_DONE,
  });
  runtime.print(`${workspace} is drained; it accepts no new work until "undrain"\n`);
}

/** Lets the workspace take new work again. @throws CommandError */
export async function undrain(
  target: AdminTarget,
  workspace: string,
  runtime: OperatorRuntime,
): Promise<void> {
  await askCoordinator(target, 'POST', `${pathOf(workspace, runtime)}/undrain`);
  runtime.print(`${workspace} accepts work again\n`);
}

/** Restarts the daemon of `workspace`, or every running daemon. @throws CommandError when a daemon could not be replaced. */
export async function restart(
  target: AdminTarget,
  workspace: string | undefined,
  options: { readonly atOnce: number | undefined; readonly drainMs: number | undefined },
  runtime: OperatorRuntime,
): Promise<void> {
  const path = workspace === undefined ? '/admin' : pathOf(workspace, runtime);
  const { restarted } = (await askCoordinator(target, 'POST', `${path}/restart`, {
    body: options,
    timeoutMs: UNTIL_DONE,
  })) as { restarted: readonly { workspaceId: string; ok: boolean; detail: string }[] };
  const rows = restarted.map(({ workspaceId, ok, detail }) => [
    workspaceId,
    ok ? 'replaced' : 'failed',
    detail,
  ]);
  runtime.print(restarted.length === 0 ? 'no daemon is running\n' : table(['ID', 'RESULT', 'DETAIL'], rows));
  if (restarted.some(({ ok }) => !ok))
    throw new CommandError(EXIT.unexpected, 'not every daemon was replaced');
}

/**
 * Changes the workspace's settings. `assignments` are `name=value`; an empty value restores the default.
 * @throws CommandError naming a bad assignment.
 */
export async function setWorkspace(
  target: AdminTarget,
  workspace: string,
  assignments: readonly string[],
  runtime: OperatorRuntime,
): Promise<void> {
  const change = Object.fromEntries(assignments.map(parseAssignment));
  const { idleTimeoutMs, isPinned } = await askCoordinator(target, 'PATCH', pathOf(workspace, runtime), {
    body: change,
  });
  runtime.print(`idleTimeout=${idleTimeoutMs ?? ''} pinned=${isPinned}\n`);
}

function parseAssignment(text: string): readonly [string, unknown] {
  const [, name, value] = /^(\w+)=(.*)$/.exec(text) ?? [];
  if (name === 'pinned' && (value === 'true' || value === 'false')) return ['pinned', value === 'true'];
  if (name === 'idleTimeout' && value === '') return ['idleTimeoutMs', null];
  if (name === 'idleTimeout' && /^\d+$/.test(value ?? '')) return ['idleTimeoutMs', Number(value)];
  throw new CommandError(
    EXIT.usage,
    `"${text}" is not a setting: give idleTimeout=<ms>, idleTimeout= (the default again), or pinned=true|false`,
  );
}

function pathOf(workspace: string, { cwd }: Pick<Runtime, 'cwd'>): string {
  const selector = isWorkspaceId(workspace) ? workspace : resolve(cwd, workspace);
  return `/admin/workspaces/${encodeURIComponent(selector)}`;
}
