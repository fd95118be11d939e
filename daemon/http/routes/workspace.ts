// Routes that name the workspace: the same handlers, behind the check that it is the workspace of this daemon.
import { canonicalPath, isWorkspaceId, workspaceIdOf } from '../../contract/canonical-path.ts';
import { failPlain } from '../../contract/errors.ts';
import { truncated } from '../../contract/log.ts';
import { workspaceMismatch } from '../../domain/create-request.ts';
import type { Handler } from '../call.ts';
import type { RouteContext } from '../route-context.ts';

/** Makes a handler from the parts that it needs and the daemon's workspace. */
type Maker<Needs> = (context: Needs & WorkspaceNeeds) => Handler;
type WorkspaceNeeds = Pick<RouteContext, 'workspace'>;

/**
 * @param selector a workspace id or an absolute path, as a request gives it.
 * @throws ApiError 400 when the selector names another workspace than `workspace`, the daemon's own.
 */
export function checkSelector(workspace: string, selector: string): void {
  const isOurs =
    selector === workspaceIdOf(workspace) ||
    (selector.startsWith('/') && canonicalPath(selector) === workspace);
  if (!isOurs) throw workspaceMismatch(workspace, truncated(selector));
}

/** The handler of `make` for the same route below `/workspaces/:workspace`. */
export function within<Needs>(make: Maker<Needs>): Maker<Needs> {
  return (context) => {
    const handler = make(context);
    return (call) => {
      checkSelector(context.workspace, call.params.workspace ?? '');
      return handler(call);
    };
  };
}

/**
 * The handler of `make` for the same route below `/workspace/:id`. There a relative path that is no workspace id is refused
 * without a code, unlike below `/workspaces`.
 */
export function byPath<Needs>(make: Maker<Needs>): Maker<Needs> {
  return (context) => {
    const handler = make(context);
    return (call) => {
      const selector = call.params.id ?? '';
      if (!isWorkspaceId(selector) && !selector.startsWith('/'))
        throw failPlain(400, '`:id` must be a workspace id or an absolute path');
      checkSelector(context.workspace, selector);
      return handler(call);
    };
  };
}
