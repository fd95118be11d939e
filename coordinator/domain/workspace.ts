// The rules of the workspace registry: which workspace a canonical path belongs to, and which paths may be registered. Pure.
// Every path here is canonical already, so paths are compared as strings.
import { MAX_REGISTERED_WORKSPACES } from '../../daemon/contract/capabilities.ts';
import type { Refusal } from './refusal.ts';

export interface RegisteredWorkspace {
  readonly id: string;
  /** Canonical path of the workspace's directory. */
  readonly path: string;
}

/** Which workspace a path belongs to: one that is registered, one that the path's first use registers, or none. */
export type WorkspaceMatch<W extends RegisteredWorkspace> =
  | { readonly kind: 'registered'; readonly workspace: W }
  /** The path lies under a root: the first session in it registers the workspace. */
  | { readonly kind: 'first_demand'; readonly path: string }
  | { readonly kind: 'refused'; readonly refusal: Refusal };

/** Whether `path` is `parent` or lies under it. */
export function isWithin(path: string, parent: string): boolean {
  return path === parent || path.startsWith(parent.endsWith('/') ? parent : `${parent}/`);
}

/** Sorts workspaces into the registry's order: the primary workspace, then the others in the given order. */
export function primaryFirst<W extends RegisteredWorkspace>(
  workspaces: readonly W[],
  primaryId: string | undefined,
): readonly W[] {
  const isPrimary = (workspace: W) => workspace.id === primaryId;
  return [...workspaces.filter(isPrimary), ...workspaces.filter((workspace) => !isPrimary(workspace))];
}

/**
 * The workspace of a request's canonical `cwd`: the registered workspace with exactly this path (a sub-directory is none), else
 * a new workspace when the path lies within one of `roots`. `registered` is in the registry's order.
 */
export function matchWorkspace<W extends RegisteredWorkspace>(
  cwd: string,
  registered: readonly W[],
  roots: readonly string[],
): WorkspaceMatch<W> {
  const workspace = registered.find(({ path }) => path === cwd);
  if (workspace !== undefined) return { kind: 'registered', workspace };
  if (!roots.some((root) => isWithin(cwd, root)))
    return { kind: 'refused', refusal: noSuchWorkspace(cwd, registered) };
  if (registered.length >= MAX_REGISTERED_WORKSPACES)
    return { kind: 'refused', refusal: limitReached(registered.length) };
  return { kind: 'first_demand', path: cwd };
}

/** The refusal to register `path` for `POST /workspaces`; undefined when the path may be registered. */
export function registrationRefusal(
  path: string,
  registered: readonly RegisteredWorkspace[],
): Refusal | undefined {
  const same = registered.find((workspace) => workspace.path === path);
  if (same !== undefined)
    return {
      code: 'workspace_exists',
      message: `${path} is already registered`,
      context: { workspaceId: same.id, workspaceCwd: path },
    };
  const nested = registered.find((other) => isWithin(path, other.path) || isWithin(other.path, path));
  if (nested !== undefined)
    return {
      code: 'workspace_nested',
      message: `${path} ${isWithin(path, nested.path) ? 'is nested in' : 'contains'} the registered workspace ${nested.path}`,
      context: { workspaceCwd: path, conflictingWorkspaceCwd: nested.path },
    };
  return registered.length >= MAX_REGISTERED_WORKSPACES ? limitReached(registered.length) : undefined;
}

/** The refusal of a path that is no registered workspace. Its context has `workspaceCount` only when several are registered. */
export function noSuchWorkspace(requested: string, registered: readonly RegisteredWorkspace[]): Refusal {
  const boundWorkspace = registered[0]?.path ?? null;
  const count = registered.length > 1 ? { workspaceCount: registered.length } : {};
  return {
    code: 'workspace_mismatch',
    message: `${requested} is not a workspace of this server; register it or use one that GET /capabilities lists`,
    context: { boundWorkspace, requestedWorkspace: requested, ...count },
  };
}

function limitReached(used: number): Refusal {
  return {
    code: 'workspace_limit_reached',
    message: `${used} workspaces are registered (limit ${MAX_REGISTERED_WORKSPACES}); remove one first`,
    context: { limit: MAX_REGISTERED_WORKSPACES, used },
  };
}
