// How an incarnation comes to be: its row is committed first, then the process is made.
import { randomBytes } from 'node:crypto';
import { messageOf } from '../../../daemon/contract/errors.ts';
import type { Launch, LaunchSpec } from '../../launch/launcher.ts';
import type { WorkspaceKey } from '../fleet.ts';
import type { Next } from './daemon-end.ts';
import type { SupervisorDeps } from './deps.ts';

/**
 * Starts the workspace's next incarnation, with `command` in place of the configured one where it is given. `nextAfter` says
 * what follows where no process can be made; it goes into the record.
 * @throws the store's ApiError 507, or the launcher's Error; then there is no process, and the row, if any, is ended.
 */
export function spawnDaemon(
  deps: SupervisorDeps,
  workspace: WorkspaceKey,
  command: readonly string[] | undefined,
  nextAfter: (error: unknown) => Next,
): Launch {
  const { store, clock, settings } = deps;
  const incarnation = store.daemons.nextIncarnation(workspace.id);
  const layout = deps.layoutOf(workspace, incarnation);
  const secret = randomBytes(32).toString('base64url');
  const nowMs = clock.nowMs();
  store.daemons.insertStarting({
    incarnation,
    workspaceId: workspace.id,
    socketPath: layout.socketPath,
    secret,
    bootId: deps.bootId,
    logPath: layout.logPath,
    createdAtMs: nowMs,
    startDeadlineAtMs: nowMs + settings.startTimeoutMs,
  });
  const spec = {
    ...layout,
    workspaceId: workspace.id,
    workspacePath: workspace.path,
    incarnation,
    secret,
    ...(command && { command }),
  };
  return launchOrEnd(deps, spec, nextAfter);
}

function launchOrEnd(deps: SupervisorDeps, spec: LaunchSpec, nextAfter: (error: unknown) => Next): Launch {
  try {
    return deps.launcher.start(spec);
  } catch (error) {
    const reason = `no process could be made: ${messageOf(error)}`;
    deps.store.daemons.setEnded(spec.incarnation, {
      atMs: deps.clock.nowMs(),
      code: null,
      signal: null,
      reason,
      kind: 'died',
      event: { kind: 'start_failed', detail: { next: nextAfter(error) } },
    });
    throw new Error(reason, { cause: error });
  }
}
