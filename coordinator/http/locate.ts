// From a route to the workspace that answers it, and to the daemon's endpoint by the class's rule for stopped daemons.
import { fail, failPlain } from '../../daemon/contract/errors.ts';
import { sessionKey } from '../../daemon/contract/wire.ts';
import { ROUTE_CLASSES, type Route } from '../domain/routing.ts';
import type { Endpoint, Fleet, SessionIndex, WorkspaceKey } from '../supervise/fleet.ts';
import { bySelector, mismatch, primaryOf, type WorkspaceBook } from './workspace-book.ts';

export interface Places {
  readonly book: WorkspaceBook;
  readonly index: SessionIndex;
  readonly fleet: Pick<Fleet, 'ensureReady' | 'endpointOf'>;
}

/**
 * The workspace of a route. Starts nothing.
 * @throws ApiError 400 `workspace_mismatch`, 404 `session_not_found`, 404 without code for a permission question.
 */
export function workspaceOf(places: Places, route: Route): WorkspaceKey {
  const { book } = places;
  const { select } = route;
  const fence = route.within === undefined ? undefined : bySelector(book, route.within, false);
  const isOutside = (chosen: WorkspaceKey) => fence !== undefined && fence.id !== chosen.id;
  switch (select.by) {
    case 'selector': {
      const chosen = bySelector(book, select.text, select.isSingular);
      if (isOutside(chosen)) throw mismatch(book, select.text);
      return chosen;
    }
    case 'session': {
      const owner = idToWorkspace(book, places.index.workspaceOf(sessionKey(select.sessionId)));
      if (owner === undefined || isOutside(owner)) throw sessionNotFound(select.sessionId);
      return owner;
    }
    case 'request': {
      if (select.workspaceId === undefined) return fence ?? primaryOf(book);
      const owner = book.byId(select.workspaceId);
      if (owner === undefined || isOutside(owner)) throw requestNotFound(select.requestId);
      return owner;
    }
    case 'primary':
      return primaryOf(book);
  }
}

function idToWorkspace(book: WorkspaceBook, id: string | undefined): WorkspaceKey | undefined {
  return id === undefined ? undefined : book.byId(id);
}

/**
 * The endpoint that a forwarded route goes to, waking the daemon where the route's class says so.
 * @throws ApiError as `workspaceOf`, as `Fleet.ensureReady`, or the class's refusal while no daemon is ready.
 */
export function endpointFor(places: Places, route: Route, signal: AbortSignal): Promise<Endpoint> | Endpoint {
  const workspace = workspaceOf(places, route);
  if (ROUTE_CLASSES[route.class].whenStopped === 'wake') return places.fleet.ensureReady(workspace, signal);
  const endpoint = places.fleet.endpointOf(workspace.id);
  if (endpoint !== undefined) return endpoint;
  // An open question lives in its daemon's memory: without the daemon there is none.
  if (route.select.by === 'request') throw requestNotFound(route.select.requestId);
  throw fail('workspace_runtime_unavailable', 'The daemon of this workspace is not running right now.', {
    workspaceCwd: workspace.path,
    workspaceId: workspace.id,
  });
}

function sessionNotFound(sessionId: string): Error {
  return fail('session_not_found', `No session with id "${sessionId.slice(0, 128)}"`, {
    sessionId: sessionId.slice(0, 128),
  });
}

function requestNotFound(requestId: string): Error {
  return failPlain(404, 'No such permission request', { requestId: requestId.slice(0, 128) });
}
