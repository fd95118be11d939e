// Registers a workspace for POST /workspaces, and forgets a workspace for DELETE /workspaces/:ws.
import { stat } from 'node:fs/promises';
import { isAbsolute } from 'node:path';
import { canonicalPath, MAX_CWD_CHARS } from '../../daemon/contract/canonical-path.ts';
import { fail } from '../../daemon/contract/errors.ts';
import type { JsonObject } from '../../daemon/contract/json-body.ts';
import { truncated } from '../../daemon/contract/log.ts';
import type { DaemonView, Fleet, WorkspaceKey } from '../supervise/fleet.ts';
import type { WorkspaceRegistry } from '../supervise/workspaces/registry.ts';

const MAX_DISPLAY_NAME_CHARS = 256;

/**
 * Registers a directory as a workspace, which stays registered across restarts of the coordinator.
 * @throws ApiError 400 `invalid_path`, `invalid_display_name`, `invalid_persist_flag`; 501 for scratch workspaces; 409 as
 *   `WorkspaceRegistry.add`.
 */
export async function addWorkspace(
  registry: Pick<WorkspaceRegistry, 'add'>,
  body: JsonObject,
): Promise<object> {
  if (body.kind !== undefined) {
    if (body.kind === 'scratch') throw fail('not_implemented', 'Scratch workspaces are not available');
    throw fail('invalid_workspace_request', '`kind` must be left out');
  }
  if (body.persist !== undefined && typeof body.persist !== 'boolean')
    throw fail('invalid_persist_flag', '`persist` must be true or false');
  const displayName = displayNameOf(body.displayName);
  const entry = registry.add(await directory(body.cwd), displayName);
  return {
    id: entry.id,
    cwd: entry.path,
    ...(entry.displayName !== undefined && { displayName: entry.displayName }),
    primary: entry.isPrimary,
    trusted: true,
    persisted: true,
  };
}

async function directory(cwd: unknown): Promise<string> {
  if (typeof cwd !== 'string' || !isAbsolute(cwd) || cwd.includes('\0') || cwd.length > MAX_CWD_CHARS)
    throw fail('invalid_path', `\`cwd\` must be an absolute path of at most ${MAX_CWD_CHARS} characters`);
  const path = canonicalPath(cwd);
  const isDirectory = await stat(path).then(
    (found) => found.isDirectory(),
    () => false,
  );
  if (!isDirectory) throw fail('invalid_path', `Not a directory: "${truncated(cwd)}"`);
  return path;
}

function displayNameOf(value: unknown): string | undefined {
  if (value === undefined || value === null) return undefined;
  const isValid =
    typeof value === 'string' &&
    value.trim() !== '' &&
    value.length <= MAX_DISPLAY_NAME_CHARS &&
    !/\p{Cc}/u.test(value);
  if (!isValid)
    throw fail(
      'invalid_display_name',
      `\`displayName\` must be 1 to ${MAX_DISPLAY_NAME_CHARS} printable characters`,
    );
  return value;
}

/** The parts of the coordinator that `removeWorkspace` uses. */
export interface RemovalDeps {
  readonly registry: Pick<WorkspaceRegistry, 'byId' | 'remove'>;
  readonly fleet: Pick<Fleet, 'stop' | 'forget' | 'view'>;
  /** Number of the workspace's sessions that are live or being restored. */
  readonly countLive: (workspaceId: string) => number;
}

/**
 * Forgets a workspace and ends its daemon. With `force` the workspace's sessions end too; without `force` it must have none.
 * @throws ApiError 400 `invalid_force_flag`; 409 `primary_workspace_removal_forbidden`, `static_workspace_removal_forbidden`,
 *   `workspace_busy`.
 */
export async function removeWorkspace(
  deps: RemovalDeps,
  workspace: WorkspaceKey,
  body: JsonObject,
): Promise<object> {
  if (body.force !== undefined && typeof body.force !== 'boolean')
    throw fail('invalid_force_flag', '`force` must be true or false');
  const entry = deps.registry.byId(workspace.id);
  if (entry?.isPrimary)
    throw fail('primary_workspace_removal_forbidden', 'The primary workspace cannot be removed');
  if (entry?.isStatic)
    throw fail(
      'static_workspace_removal_forbidden',
      'A workspace named in the configuration cannot be removed',
    );
  const isForced = body.force === true;
  const activity = activityOf(deps.fleet.view(workspace.id), deps.countLive(workspace.id));
  if (!isForced && isBusy(activity))
    throw fail('workspace_busy', 'The workspace is in use; close its sessions or use force', { activity });
  // The workspace is forgotten before its daemon is stopped: a request in between must not start the daemon again.
  deps.registry.remove(workspace.id);
  await deps.fleet.stop(workspace.id, { reason: 'workspace_removed', kind: 'removed' });
  deps.fleet.forget(workspace.id);
  return {
    removed: true,
    workspaceId: workspace.id,
    workspaceCwd: workspace.path,
    forced: isForced,
    persistedRegistrationRemoved: true,
    activity,
  };
}

/** Numbers that make a workspace busy: while any is above 0, only a removal with `force` succeeds. */
interface Activity {
  readonly sessions: number;
  readonly activePrompts: number;
  readonly pendingSessionStarts: number;
}

function activityOf(view: DaemonView | undefined, sessions: number) {
  return {
    sessions: Math.max(sessions, view?.lastBeat?.sessions ?? 0),
    activePrompts: view?.lastBeat?.activePrompts ?? 0,
    pendingSessionStarts: view?.waiters ?? 0,
    acpConnections: view?.agent ? 1 : 0,
    channelWorkers: 0,
    voiceSessions: 0,
    memoryTasks: 0,
    workspaceRuntime: view !== undefined && view.state !== 'stopped',
  };
}

function isBusy(activity: Activity): boolean {
  return activity.sessions + activity.activePrompts + activity.pendingSessionStarts > 0;
}
