// From a route to who answers it: a daemon's endpoint, the coordinator itself, or nobody because there is nothing to do.
// What happens while a daemon is stopped or a session sleeps is the route class's rule; this file carries it out.
import { ApiError, fail, failPlain } from '../../daemon/contract/errors.ts';
import { ROUTE_CLASSES, type RouteClass } from '../domain/route-classes.ts';
import type { RoutedRequest } from '../domain/routing.ts';
import { isStorageRefusal } from '../store/storage-refusal.ts';
import type { Fleet, SessionIndex, SessionLocation, WorkspaceKey } from '../supervise/fleet.ts';
import * as refusals from '../supervise/refusals.ts';
import type { Endpoint } from '../upstream/endpoint.ts';
import { bySelector, mismatchError, primaryOf, type WorkspaceBook } from './workspace-book.ts';

/** Sessions that no daemon has, as this side may ask for them. Implemented by supervise/restorer.ts. */
export interface DormantSessions {
  /** Brings a session back now. @throws ApiError; the signal's reason. */
  wake(sessionId: string, signal: AbortSignal): Promise<void>;
  /** Waits a while for one that is coming back. @throws ApiError 503; the signal's reason. */
  await(sessionId: string, signal: AbortSignal): Promise<void>;
  /** Closes one for a client. @returns false while its restore is under way: nothing is done then. @throws ApiError 507. */
  close(sessionId: string): boolean;
}

export interface DestinationDeps {
  readonly book: WorkspaceBook;
  readonly index: SessionIndex;
  readonly fleet: Pick<Fleet, 'ensureReady' | 'attend' | 'endpointOf' | 'reachOf' | 'storeRefusalOf'>;
  readonly dormantSessions: DormantSessions;
  /** Why the workspace takes no new work; undefined when it does. */
  readonly drainReasonOf: (workspaceId: string, routeClass: RouteClass) => string | undefined;
  /** Counts a refusal for `why`. */
  readonly refused: (workspaceId: string, error: ApiError) => void;
}

export type Destination =
  | { readonly kind: 'daemon'; readonly endpoint: Endpoint }
  /** One of the coordinator's own routes. */
  | { readonly kind: 'own' }
  /** Nothing is left to do: 204. */
  | { readonly kind: 'done' };

const OWN: Destination = { kind: 'own' };
const DONE: Destination = { kind: 'done' };

/**
 * The workspace of a route. Starts nothing.
 * @throws ApiError 400 `workspace_mismatch`, 404 `session_not_found`, 404 without code for a permission question.
 */
export function workspaceOf(places: DestinationDeps, route: RoutedRequest): WorkspaceKey {
  const { book } = places;
  const { select } = route;
  const fence = fenceOf(places, route);
  const isOutside = (chosen: WorkspaceKey) => fence !== undefined && fence.id !== chosen.id;
  switch (select.by) {
    case 'selector': {
      const chosen = bySelector(book, select.text, select.isSingular);
      if (isOutside(chosen)) throw mismatchError(book, select.text);
      return chosen;
    }
    case 'session': {
      const ownerId = places.index.ownerOf(select.sessionId);
      const owner = ownerId === undefined ? undefined : book.byId(ownerId);
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

/** The workspace of a `/w/:ws` prefix, whatever else the route selects. */
export function fenceOf(places: DestinationDeps, route: RoutedRequest): WorkspaceKey | undefined {
  return route.within === undefined ? undefined : bySelector(places.book, route.within, false);
}

/**
 * Who answers the route, after waking what its class wakes.
 * @throws ApiError as `workspaceOf`, as `Fleet.ensureReady`, the class's refusal, 503 `workspace_draining`.
 */
export function destinationOf(
  places: DestinationDeps,
  route: RoutedRequest,
  signal: AbortSignal,
): Promise<Destination> | Destination {
  const spec = ROUTE_CLASSES[route.class];
  if (spec.answeredBy === 'coordinator') return OWN;
  const workspace = workspaceOf(places, route);
  if ('isWork' in spec) refuseDrained(places, workspace, route.class);
  const endpoint = isReading(route)
    ? places.fleet.reachOf(workspace.id)
    : places.fleet.endpointOf(workspace.id);
  if (route.select.by === 'session')
    return ofSession(places, route, route.select.sessionId, workspace, signal);
  if (endpoint !== undefined) return { kind: 'daemon', endpoint };
  if (spec.answeredBy === 'either') return OWN;
  if (spec.whenStopped === 'wake') return toDaemon(places.fleet.ensureReady(workspace, signal));
  return notRunning(places, route, workspace, signal);
}

/** Routes that a daemon answers to its last moment. */
function isReading(route: RoutedRequest): boolean {
  return route.select.by === 'request' || route.class === 'session_list';
}

/** @throws ApiError 503 `workspace_draining`. */
export function refuseDrained(
  places: DestinationDeps,
  workspace: WorkspaceKey,
  routeClass: RouteClass,
): void {
  const reason = places.drainReasonOf(workspace.id, routeClass);
  if (reason !== undefined) throw draining(places, workspace, reason);
}

/** A turn must not begin that would have to be taken back. @throws ApiError 507 `storage_unavailable`. */
function refuseUnstorable(places: DestinationDeps, workspace: WorkspaceKey): void {
  const refusal = places.fleet.storeRefusalOf(workspace.id);
  if (!(refusal instanceof ApiError) || !isStorageRefusal(refusal)) return;
  places.refused(workspace.id, refusal);
  throw refusal;
}

/** The refusal, counted. */
function draining(places: DestinationDeps, workspace: WorkspaceKey, reason: string): ApiError {
  const refusal = refusals.draining(workspace, reason);
  places.refused(workspace.id, refusal);
  return refusal;
}

function ofSession(
  places: DestinationDeps,
  route: RoutedRequest,
  sessionId: string,
  workspace: WorkspaceKey,
  signal: AbortSignal,
): Promise<Destination> | Destination {
  const place = places.index.find(sessionId);
  if (route.class === 'session_history') {
    const reach = places.fleet.reachOf(workspace.id);
    if (reach !== undefined) return { kind: 'daemon', endpoint: reach };
    return toDaemon(places.fleet.ensureReady(workspace, signal));
  }
  if (place === undefined) throw sessionNotFound(sessionId);
  if (place.state !== 'live') return ofResting(places, route, sessionId, place.state, workspace, signal);
  // A daemon that ends its turns takes no more work, but everything else about its sessions.
  const ready = places.fleet.endpointOf(workspace.id);
  const endpoint = ready ?? places.fleet.reachOf(workspace.id);
  if (ready === undefined && endpoint !== undefined && 'isWork' in ROUTE_CLASSES[route.class])
    throw draining(places, workspace, 'its daemon is finishing its turns');
  if ('isWork' in ROUTE_CLASSES[route.class]) refuseUnstorable(places, workspace);
  if (endpoint !== undefined) return { kind: 'daemon', endpoint };
  // Live with a daemon that is being taken over, or that has gone: then it is known soon what becomes of the session.
  return stillThere(places, route, sessionId, workspace, signal, places.fleet.attend(workspace, signal));
}

/**
 * The daemon that was waited for, if it has the session. It may be the next one already, to which the session has yet to come
 * back: its 404 would tell the client that the session is over.
 */
async function stillThere(
  places: DestinationDeps,
  route: RoutedRequest,
  sessionId: string,
  workspace: WorkspaceKey,
  signal: AbortSignal,
  awaited: Promise<Endpoint>,
): Promise<Destination> {
  const endpoint = await awaited;
  const place = places.index.find(sessionId);
  if (place === undefined) throw sessionNotFound(sessionId);
  if (place.state === 'live') return { kind: 'daemon', endpoint };
  if (place.state === 'restoring')
    throw fail('workspace_runtime_unavailable', 'The session is being restored', { sessionId });
  return ofResting(places, route, sessionId, place.state, workspace, signal);
}

async function ofResting(
  places: DestinationDeps,
  route: RoutedRequest,
  sessionId: string,
  state: Exclude<SessionLocation['state'], 'live'>,
  workspace: WorkspaceKey,
  signal: AbortSignal,
): Promise<Destination> {
  const spec = ROUTE_CLASSES[route.class];
  const whenStopped = 'whenStopped' in spec ? spec.whenStopped : undefined;
  if (whenStopped === '204') {
    const isDone = route.class !== 'session_close' || (await closedAtRest(places, sessionId, signal));
    if (isDone) return DONE;
    return stillThere(
      places,
      route,
      sessionId,
      workspace,
      signal,
      places.fleet.ensureReady(workspace, signal),
    );
  }
  if (whenStopped === 'wake') await places.dormantSessions.wake(sessionId, signal);
  else if (state === 'restoring') await places.dormantSessions.await(sessionId, signal);
  else if (whenStopped === 'store') return OWN;
  else throw dormant(sessionId);
  return stillThere(places, route, sessionId, workspace, signal, places.fleet.ensureReady(workspace, signal));
}

/** False when its restore was under way and has brought it back: then its daemon closes it. */
async function closedAtRest(
  places: DestinationDeps,
  sessionId: string,
  signal: AbortSignal,
): Promise<boolean> {
  const { dormantSessions } = places;
  if (dormantSessions.close(sessionId)) return true;
  try {
    await dormantSessions.await(sessionId, signal);
  } catch (error) {
    signal.throwIfAborted();
    // The restore failed, and the session rests again; or it takes longer than this request may.
    if (!dormantSessions.close(sessionId)) throw error;
    return true;
  }
  return false;
}

async function toDaemon(endpoint: Promise<Endpoint>): Promise<Destination> {
  return { kind: 'daemon', endpoint: await endpoint };
}

async function notRunning(
  places: DestinationDeps,
  route: RoutedRequest,
  workspace: WorkspaceKey,
  signal: AbortSignal,
): Promise<Destination> {
  try {
    return await toDaemon(places.fleet.attend(workspace, signal));
  } catch (error) {
    // An open question lives in its daemon's memory: without the daemon there is none.
    if (route.select.by === 'request' && error instanceof ApiError)
      throw requestNotFound(route.select.requestId);
    throw error;
  }
}

function sessionNotFound(sessionId: string): ApiError {
  return fail('session_not_found', `No session with id "${sessionId.slice(0, 128)}"`, {
    sessionId: sessionId.slice(0, 128),
  });
}

function dormant(sessionId: string): ApiError {
  return fail('session_not_found', 'The session is dormant; a prompt, load or resume wakes it', {
    sessionId,
    dormant: true,
  });
}

function requestNotFound(requestId: string): ApiError {
  return failPlain(404, 'No such permission request', { requestId: requestId.slice(0, 128) });
}
