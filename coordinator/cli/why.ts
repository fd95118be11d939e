// `qwen-coordinator why`: prints the state of a workspace's daemon, and the recorded events that led to it.
import { resolve } from 'node:path';
import { isWorkspaceId } from '../../daemon/contract/canonical-path.ts';
import { askCoordinator } from './admin-client.ts';
import type { AdminTarget } from './admin-socket.ts';
import type { Runtime } from './runtime.ts';

export interface WhyOptions {
  readonly isJson: boolean;
  /** How many events are shown, the newest ones; undefined: the coordinator's default. */
  readonly limit: number | undefined;
}

/** Prints the story of a workspace. @throws CommandError `notRunning`; `usage` when `workspace` is not a registered workspace. */
export async function why(
  target: AdminTarget,
  workspace: string,
  { isJson, limit }: WhyOptions,
  { cwd, print }: Pick<Runtime, 'cwd' | 'print'>,
): Promise<void> {
  const selector = isWorkspaceId(workspace) ? workspace : resolve(cwd, workspace);
  const query = limit === undefined ? '' : `?limit=${limit}`;
  const path = `/admin/workspaces/${encodeURIComponent(selector)}/why${query}`;
  const answer = await askCoordinator(target, 'GET', path);
  const story = answer.story as readonly string[];
  print(isJson ? `${JSON.stringify(answer, null, 2)}\n` : `${story.join('\n')}\n`);
}
