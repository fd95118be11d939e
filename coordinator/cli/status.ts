// `qwen-coordinator status`: whether a coordinator is running, and its workspaces. Also the container's health check.
import { askCoordinator } from './admin-client.ts';
import type { AdminTarget } from './admin-socket.ts';
import type { Runtime } from './runtime.ts';
import { table } from './table.ts';

/** Prints the status. @throws CommandError as `askCoordinator`, whose exit code tells scripts whether a coordinator runs. */
export async function showStatus(
  target: AdminTarget,
  isJson: boolean,
  { print }: Pick<Runtime, 'print'>,
): Promise<void> {
  const answer = await askCoordinator(target, 'GET', '/admin/status');
  print(isJson ? `${JSON.stringify(answer, null, 2)}\n` : readable(answer));
}

/** The status as text: a line about the coordinator, and a table of its workspaces. */
function readable(answer: Record<string, unknown>): string {
  const { version, pid, uptimeMs, status: state } = answer;
  const workspaces = answer.workspaces as readonly Record<string, unknown>[];
  const rows = workspaces.map(({ id, state: daemon, sessions, cwd }) =>
    [id, daemon, sessions, cwd].map(String),
  );
  const uptimeS = Math.round(Number(uptimeMs) / 1000);
  return `qwen-coordinator ${version}, pid ${pid}, up ${uptimeS} s: ${state}\n${table(['ID', 'DAEMON', 'SESSIONS', 'WORKSPACE'], rows)}`;
}
