// Finds the destination of a routed request: a daemon's endpoint, the coordinator's own routes, or none when the request is done.
// The table of route classes decides what a request does while the daemon is stopped or the session sleeps; this file
// carries that decision out.
import { ApiError, fail } from '../../daemon/contract/errors.ts';
import { ROUTE_CLASSES } from '../domain/route-classes.ts';
import type { RoutedRequest } from '../domain/routing.ts';
import type { Fleet, SessionIndex, SessionLocation, WorkspaceKey } from '../supervise/fleet.ts';
import type { Endpoint } from '../upstream/endpoint.ts';
import type { WorkGate } from './work-gate.ts';
import {
  requestNotFound,
  sessionNotFound,
  type WorkspaceLookup,
  workspaceOf,
} from './workspace-selection.ts';

/** How requests wake, await and close sessions that no daemon has. Implemented by `Restorer` in supervise/sessions. */
export interface DormantSessions {
  /** Restores a session now. @throws ApiError when the restore fails; the signal's reason when the client leaves. */
  wake(sessionId: string, signal: AbortSignal): Promise<void>;
  /**
   * Waits until the automatic restore of a session has ended, for at most the configured time; returns at once without one.
   * @throws ApiError 503 when the session is not live by then; the signal's reason when the client leaves.
   */
  await(sessionId: string, signal: AbortSignal): Promise<void>;
  /**
   * Closes a session that no daemon has, because a client wants that.
   * @returns false, and does nothing, while the session's restore is under way.
   * @throws ApiError 507 when the store refuses.
   */
  close(sessionId: string): boolean;
}

export interface DestinationDeps {
  readonly registry: WorkspaceLookup;
  readonly index: SessionIndex;
  readonly fleet: Pick<Fleet, 'ensureReady' | 'attend' | 'endpointOf' | 'reachOf'>;
  readonly dormantSessions: DormantSessions;
  readonly workGate: WorkGate;
}

export type Destination =
  | { readonly kind: 'daemon'; readonly endpoint: Endpoint }
  /** The coordinator answers, with one of its own routes. */
  | { readonly kind: 'own' }
  /** The request is done already; the answer is 204 without a body. */
  | { readonly kind: 'done' };

const OWN: Destination = { kind: 'own' };
const DONE: Destination = { kind: 'done' };

/**
 * The destination of a request. A class with `wake` has its daemon started and its session restored first.
 * @throws ApiError as `workspaceOf` and `Fleet.ensureReady`; 404 for a sleeping session or a permission question that the class
 *   does not wake; for new work 503 `workspace_draining` or 507 `storage_unavailable`.
 */
export function destinationOf(
  deps: DestinationDeps,
  route: RoutedRequest,
  signal: AbortSignal,
): Promise<Destination> | Destination {
  const spec = ROUTE_CLASSES[route.class];
  if (spec.answeredBy === 'coordinator') return OWN;
  const { fleet, workGate } = deps;
  const workspace = workspaceOf(deps, route);
  if ('isWork' in spec) workGate.checkDrain(workspace, route.class);
  if (route.select.by === 'session')
    return ofSession(deps, { route, id: route.select.sessionId, workspace, signal });
  const endpoint = isAnsweredWhileDraining(route)
    ? fleet.reachOf(workspace.id)
    : fleet.endpointOf(workspace.id);
  if (endpoint !== undefined) return { kind: 'daemon', endpoint };
  if (spec.answeredBy === 'either') return OWN;
  if (spec.whenStopped === 'wake') return toDaemon(fleet.ensureReady(workspace, signal));
  return ofStoppedDaemon(fleet, route, workspace, signal);
}

/** Whether a daemon answers the route even while it drains: votes on permission questions, and the listing of its sessions. */
function isAnsweredWhileDraining(route: RoutedRequest): boolean {
  return route.select.by === 'request' || route.class === 'session_list';
}

/** A request about one session. */
interface SessionRequest {
  readonly route: RoutedRequest;
  /** The session's id, as the client wrote it. */
  readonly id: string;
  readonly workspace: WorkspaceKey;
  /** Aborted when the client leaves. */
  readonly signal: AbortSignal;
}

function ofSession(deps: DestinationDeps, request: SessionRequest): Promise<Destination> | Destination {
  const { route, id, workspace, signal } = request;
  if (route.class === 'session_history') {
    const reach = deps.fleet.reachOf(workspace.id);
    if (reach !== undefined) return { kind: 'daemon', endpoint: reach };
    return toDaemon(deps.fleet.ensureReady(workspace, signal));
  }
  const location = deps.index.find(id);
  if (location === undefined) throw sessionNotFound(id);
  return location.state === 'live'
    ? ofLiveSession(deps, request)
    : ofDormantSession(deps, request, location.state);
}

function ofLiveSession(deps: DestinationDeps, request: SessionRequest): Promise<Destination> | Destination {
  const { fleet, workGate } = deps;
  const { route, workspace, signal } = request;
  const isWork = 'isWork' in ROUTE_CLASSES[route.class];
  // A draining daemon takes no new work, but still answers every other request about its sessions.
  const ready = fleet.endpointOf(workspace.id);
  const endpoint = ready ?? fleet.reachOf(workspace.id);
  if (isWork && ready === undefined && endpoint !== undefined) throw workGate.finishingRefusal(workspace);
  if (isWork) workGate.checkStorable(workspace);
  if (endpoint !== undefined) return { kind: 'daemon', endpoint };
  // The session's daemon is being adopted or has just gone. Whether the session comes back is known soon, so the request waits.
  return ifDaemonHasSession(deps, request, fleet.attend(workspace, signal));
}

/**
 * Waits for the daemon, then looks up again where the session is. A new daemon may not have the session back yet, and from that
 * daemon's 404 the client would take the session for closed.
 */
async function ifDaemonHasSession(
  deps: DestinationDeps,
  request: SessionRequest,
  awaited: Promise<Endpoint>,
): Promise<Destination> {
  const { id } = request;
  const endpoint = await awaited;
  const location = deps.index.find(id);
  if (location === undefined) throw sessionNotFound(id);
  if (location.state === 'live') return { kind: 'daemon', endpoint };
  if (location.state === 'restoring')
    throw fail('workspace_runtime_unavailable', 'The session is being restored', { sessionId: id });
  return ofDormantSession(deps, request, location.state);
}

/** The destination of a request about a session that no daemon has, because it sleeps or is being restored automatically. */
async function ofDormantSession(
  deps: DestinationDeps,
  request: SessionRequest,
  state: Exclude<SessionLocation['state'], 'live'>,
): Promise<Destination> {
  const { fleet, dormantSessions } = deps;
  const { route, id, workspace, signal } = request;
  const spec = ROUTE_CLASSES[route.class];
  const whenStopped = 'whenStopped' in spec ? spec.whenStopped : undefined;
  if (whenStopped === '204') {
    const isDone = route.class !== 'session_close' || (await isClosedAsleep(dormantSessions, id, signal));
    if (isDone) return DONE;
  } else if (whenStopped === 'wake') await dormantSessions.wake(id, signal);
  else if (state === 'restoring') await dormantSessions.await(id, signal);
  else if (whenStopped === 'store') return OWN;
  else throw dormantRefusal(id);
  return ifDaemonHasSession(deps, request, fleet.ensureReady(workspace, signal));
}

/**
 * Closes a session that no daemon has. If the session's restore is under way, waits for the end of the restore first.
 * @returns false when the restore has made the session live: then the session's daemon has to close it.
 */
async function isClosedAsleep(
  dormantSessions: DormantSessions,
  sessionId: string,
  signal: AbortSignal,
): Promise<boolean> {
  if (dormantSessions.close(sessionId)) return true;
  try {
    await dormantSessions.await(sessionId, signal);
  } catch (error) {
    signal.throwIfAborted();
    // The restore failed, and the session sleeps again; or the restore takes longer than this request may.
    if (!dormantSessions.close(sessionId)) throw error;
    return true;
  }
  return false;
}

async function toDaemon(endpoint: Promise<Endpoint>): Promise<Destination> {
  return { kind: 'daemon', endpoint: await endpoint };
}

/**
 * For a route that starts no daemon: waits for a daemon that is already starting or being adopted.
 * @throws ApiError without one.
 */
async function ofStoppedDaemon(
  fleet: Pick<Fleet, 'attend'>,
  route: RoutedRequest,
  workspace: WorkspaceKey,
  signal: AbortSignal,
): Promise<Destination> {
  try {
    return await toDaemon(fleet.attend(workspace, signal));
  } catch (error) {
    // A permission question exists only in its daemon's memory: without the daemon there is no question.
    if (route.select.by === 'request' && error instanceof ApiError)
      throw requestNotFound(route.select.requestId);
    throw error;
  }
}

function dormantRefusal(sessionId: string): ApiError {
  return fail('session_not_found', 'The session is dormant; a prompt, load or resume wakes it', {
    sessionId,
    dormant: true,
  });
}
