// Wraps the handlers of routes whose path names a workspace: checks first that it is the workspace of this daemon.
import { canonicalPath, isWorkspaceId, workspaceIdOf } from '../../contract/canonical-path.ts';
import { failPlain } from '../../contract/errors.ts';
import { truncated } from '../../contract/log.ts';
import { workspaceMismatch } from '../../domain/create-request.ts';
import type { Handler } from '../call.ts';
import type { RouteContext } from '../route-context.ts';

/** A function that makes a handler from the parts that the handler needs and the daemon's workspace. */
type Maker<Needs> = (context: Needs & WorkspaceNeeds) => Handler;
type WorkspaceNeeds = Pick<RouteContext, 'workspace'>;

/**
 * Checks that a request's selector names the daemon's workspace.
 * @param selector a workspace id or an absolute path, as the request gives it.
 * @throws ApiError 400 when the selector names another workspace than `workspace`.
 */
export function checkSelector(workspace: string, selector: string): void {
  const isOurs =
    selector === workspaceIdOf(workspace) ||
    (selector.startsWith('/') && canonicalPath(selector) === workspace);
  if (!isOurs) throw workspaceMismatch(workspace, truncated(selector));
}

/** Makes the handler of `make` for a path that begins with `/workspaces/:workspace`, behind `checkSelector`. */
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
 * Makes the handler of `make` for a path that begins with `/workspace/:id`, behind `checkSelector`. An `:id` that is neither a
 * workspace id nor an absolute path is refused without an error code, unlike in `within`.
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
