// Finds the registered workspace that a request selects, and makes the protocol's errors for a selection that names none. Starts
// nothing.
import { isAbsolute } from 'node:path';
import { canonicalPath, isWorkspaceId } from '../../daemon/contract/canonical-path.ts';
import { type ApiError, fail, failPlain } from '../../daemon/contract/errors.ts';
import { truncated } from '../../daemon/contract/log.ts';
import type { RoutedRequest } from '../domain/routing.ts';
import { noSuchWorkspace } from '../domain/workspace.ts';
import type { SessionIndex, WorkspaceKey } from '../supervise/fleet.ts';
import type { WorkspaceEntry, WorkspaceRegistry } from '../supervise/workspaces/registry.ts';

/** The look-ups of the workspace registry; none of these methods registers a workspace. */
export type WorkspaceLookup = Pick<WorkspaceRegistry, 'find' | 'byId' | 'primary' | 'list'>;

export interface SelectionDeps {
  readonly registry: WorkspaceLookup;
  /** Tells which workspace a session belongs to. */
  readonly index: Pick<SessionIndex, 'ownerOf'>;
}

/**
 * The workspace that a request selects by its path, its prefix, its header, or its session.
 * @throws ApiError 400 `workspace_mismatch`, 404 `session_not_found`, 404 without code for a permission question.
 */
export function workspaceOf({ registry, index }: SelectionDeps, route: RoutedRequest): WorkspaceKey {
  const { select } = route;
  const fence = fenceOf(registry, route);
  const isOutside = (chosen: WorkspaceKey) => fence !== undefined && fence.id !== chosen.id;
  switch (select.by) {
    case 'selector': {
      const chosen = bySelector(registry, select.text, select.isSingular);
      if (isOutside(chosen)) throw mismatchError(registry, select.text);
      return chosen;
    }
    case 'session': {
      const ownerId = index.ownerOf(select.sessionId);
      const owner = ownerId === undefined ? undefined : registry.byId(ownerId);
      if (owner === undefined || isOutside(owner)) throw sessionNotFound(select.sessionId);
      return owner;
    }
    case 'request': {
      if (select.workspaceId === undefined) return fence ?? primaryOf(registry);
      const owner = registry.byId(select.workspaceId);
      if (owner === undefined || isOutside(owner)) throw requestNotFound(select.requestId);
      return owner;
    }
    case 'primary':
      return primaryOf(registry);
  }
}

/**
 * The workspace of the `/w/:ws` prefix, in which everything else that the request selects has to be. Undefined without a prefix.
 * @throws ApiError 400 when the prefix names no workspace.
 */
export function fenceOf(registry: WorkspaceLookup, route: RoutedRequest): WorkspaceKey | undefined {
  return route.within === undefined ? undefined : bySelector(registry, route.within, false);
}

/**
 * The workspace that a decoded selector names, by its id or its absolute path.
 * @param isSingular true on the older `/workspace/:ws` routes, which refuse a relative selector without a code.
 * @throws ApiError 400 when the selector names no registered workspace.
 */
export function bySelector(registry: WorkspaceLookup, text: string, isSingular: boolean): WorkspaceKey {
  if (!isAbsolute(text) || text.includes('\0')) {
    const known = isWorkspaceId(text) ? registry.byId(text) : undefined;
    if (known !== undefined) return known;
    if (isSingular && !isWorkspaceId(text))
      throw failPlain(400, `Not a workspace id or an absolute path: "${truncated(text)}"`);
    throw mismatchError(registry, text);
  }
  const found = registry.find(canonicalPath(text));
  if (found === undefined) throw mismatchError(registry, text);
  return found;
}

/** The primary workspace. @throws ApiError 400 when no workspace is registered at all. */
export function primaryOf(registry: Pick<WorkspaceLookup, 'primary' | 'list'>): WorkspaceEntry {
  const primary = registry.primary();
  if (primary === undefined) throw mismatchError(registry, '');
  return primary;
}

/** The 400 for a path or selector that names no workspace, in the protocol's form for one or for several workspaces. */
export function mismatchError(registry: Pick<WorkspaceLookup, 'list'>, requested: string): ApiError {
  const { code, message, context } = noSuchWorkspace(truncated(requested), registry.list());
  return fail(code, message, context);
}

/** The 404 for a session that no workspace of this coordinator has. */
export function sessionNotFound(sessionId: string): ApiError {
  return fail('session_not_found', `No session with id "${sessionId.slice(0, 128)}"`, {
    sessionId: sessionId.slice(0, 128),
  });
}

/** The 404 for a permission question that no daemon has open. */
export function requestNotFound(requestId: string): ApiError {
  return failPlain(404, 'No such permission request', { requestId: requestId.slice(0, 128) });
}
