// The half of the composition root that makes the HTTP servers: the listener for clients, and the admin plane.
import type Router from '@koa/router';
import type { ApiDocument } from '../daemon/contract/api-document.ts';
import { systemClock } from '../daemon/contract/clock.ts';
import type { Log } from '../daemon/contract/log.ts';
import type { FleetParts } from './app-fleet.ts';
import type { Config } from './config.ts';
import { addBackup } from './http/admin/backup.ts';
import { addOperations } from './http/admin/operations.ts';
import { createAdminRouter } from './http/admin/router.ts';
import { type AdminServer, createAdminServer } from './http/admin/server.ts';
import { addWhy } from './http/admin/why.ts';
import type { DestinationDeps } from './http/destination.ts';
import type { EventStreams } from './http/event-streams.ts';
import type { Forwarder } from './http/forward.ts';
import type { ListenerPolicy } from './http/guard.ts';
import { OwnRequests, type RequestContexts } from './http/own-requests.ts';
import type { DescriptionDeps } from './http/routes/descriptions.ts';
import type { SessionRows } from './http/routes/listings.ts';
import { createRoutes } from './http/routes.ts';
import { type ClientListener, createClientListener } from './http/server.ts';
import { type AcknowledgementDeps, postUntilStored } from './http/session-acknowledgement.ts';
import type { SessionDeps } from './http/sessions.ts';
import { WorkGate } from './http/work-gate.ts';
import { type CgroupProbe, cgroupWords } from './launch/cgroup-probe.ts';
import type { Store } from './store/store.ts';
import { recordAnswer } from './supervise/records/answer-recorder.ts';
import type { DaemonClient } from './upstream/daemon-client.ts';

const UNDO_TIMEOUT_MS = 5000;
/** Most sessions of a workspace that a listing from the store shows; older sessions can be loaded by their id only. */
const MAX_LISTED = 5000;

export interface HttpOptions {
  readonly config: Config;
  readonly version: string;
  readonly log: Log;
  readonly store: Store;
  readonly cgroups: CgroupProbe;
  readonly apiDocument: ApiDocument;
  /** Makes the coordinator's own calls to daemons. */
  readonly client: DaemonClient;
  readonly forwarder: Forwarder;
  readonly streams: EventStreams;
  /** The bound TCP port; called for each request, because the port is known only once the server listens. */
  readonly port: () => number;
  readonly requestStop: (reason: string, leavesDaemons: boolean) => void;
}

/** Makes the client listener and the admin plane's server; neither listens yet. */
export function assembleHttp(
  options: HttpOptions,
  fleet: FleetParts,
): { readonly listener: ClientListener; readonly admin: AdminServer } {
  const { store, log } = options;
  // A router for the admin socket alone: a client that can open that socket is the user whose files a backup may write.
  const socketRouter = adminRouter(options, fleet);
  addBackup(socketRouter, { store, clock: systemClock, log });
  return {
    listener: makeListener(options, fleet, adminRouter(options, fleet)),
    admin: createAdminServer(socketRouter, systemClock, log),
  };
}

function adminRouter(
  {
    version,
    config,
    store,
    cgroups,
    requestStop,
  }: Pick<HttpOptions, 'version' | 'config' | 'store' | 'cgroups' | 'requestStop'>,
  { registry, supervisor, journal, maintenance }: FleetParts,
): Router {
  const clock = systemClock;
  const router = createAdminRouter({
    version,
    config: { ...config, cgroups: cgroupWords(cgroups) },
    registry,
    fleet: supervisor,
    store,
    clock,
    beatStaleMs: config.limits.feedBeatMs * config.supervise.beatTimeoutFactor,
  });
  addWhy(router, { registry, fleet: supervisor, store, journal, clock });
  addOperations(router, { registry, maintenance, requestStop });
  return router;
}

function makeListener(options: HttpOptions, fleet: FleetParts, admin: Router): ClientListener {
  const { config, log, forwarder, streams } = options;
  const contexts: RequestContexts = new WeakMap();
  const destination = destinationDeps(fleet);
  const policy = () => listenerPolicy(options);
  return createClientListener({
    policy,
    destination,
    forwarder,
    streams,
    own: { routers: [admin, ownRoutes(options, fleet, destination, { contexts, policy })], contexts },
    limits: config.limits,
    clock: systemClock,
    log,
  });
}

function ownRoutes(
  options: Omit<HttpOptions, 'cgroups' | 'forwarder' | 'streams' | 'port' | 'requestStop'>,
  fleet: FleetParts,
  destination: DestinationDeps,
  { contexts, policy }: { readonly contexts: RequestContexts; readonly policy: () => ListenerPolicy },
): Router {
  const { store, client } = options;
  const { registry, recorder: index, supervisor } = fleet;
  const requests = new OwnRequests(contexts, options.config.limits.maxBodyBytes);
  const selection = { registry, index };
  const batches = { ...selection, fleet: supervisor, client };
  return createRoutes({
    descriptions: descriptionDeps(options, fleet),
    listings: { requests, selection, batches, rows: sessionRows(store) },
    sessions: { requests, sessions: sessionDeps(options, fleet, destination), batches },
    workspaces: {
      requests,
      policy,
      registry,
      selection,
      removal: { registry, fleet: supervisor, countLive: store.sessions.countLive },
    },
  });
}

function descriptionDeps(
  { config, version, apiDocument }: Pick<HttpOptions, 'config' | 'version' | 'apiDocument'>,
  { registry, supervisor }: FleetParts,
): DescriptionDeps {
  const { limits } = config;
  return {
    registry,
    fleet: supervisor,
    facts: {
      version,
      limits,
      permissionPolicy: config.permissionPolicy,
      maxTotalSessions: limits.maxTotalSessions,
      isAuthRequired: config.requireAuth,
      isRateLimited: config.isRateLimited,
      hasAllowedOrigins: config.allowedOrigins.length > 0,
    },
    apiDocument,
    clock: systemClock,
  };
}

function sessionRows({ sessions }: Pick<Store, 'sessions'>): SessionRows {
  return {
    get: sessions.get,
    listed: (workspaceId) => sessions.newest(workspaceId, MAX_LISTED),
    clients: sessions.clients,
  };
}

function destinationDeps(fleet: FleetParts): DestinationDeps {
  const { registry, recorder, supervisor, restorer, maintenance, journal } = fleet;
  return {
    registry,
    index: recorder,
    fleet: supervisor,
    dormantSessions: restorer,
    workGate: new WorkGate({ maintenance, fleet: supervisor, journal }),
  };
}

function sessionDeps(
  { log, store, client }: Pick<HttpOptions, 'log' | 'store' | 'client'>,
  { recorder, supervisor, journal, admission, registry }: FleetParts,
  { index, dormantSessions, workGate }: DestinationDeps,
): SessionDeps {
  const acknowledgement: AcknowledgementDeps = {
    fleet: supervisor,
    client,
    recordAnswer: (shown) =>
      journal.counting(shown.workspaceId, () => recordAnswer({ store, recorder }, shown)),
    clock: systemClock,
    log,
    undoTimeoutMs: UNDO_TIMEOUT_MS,
  };
  return {
    registry,
    index,
    dormantSessions,
    workGate,
    admission,
    slotSleeper: (workspaceId) => slotSleeper(store, workspaceId),
    postUntilStored: (workspace, post) => postUntilStored(acknowledgement, workspace, post),
    log,
  };
}

function listenerPolicy({ config, port }: Pick<HttpOptions, 'config' | 'port'>): ListenerPolicy {
  const { listen, token, requireAuth, allowedOrigins, trustedProxies } = config;
  return {
    listener: listen.kind,
    boundHost: listen.kind === 'tcp' ? listen.host : '',
    port: port(),
    token,
    requireAuth,
    allowedOrigins,
    trustedProxies,
  };
}

/**
 * Id of the session in the workspace's slot while no daemon has that session. Undefined when a live session has the slot: it took
 * the slot from a session that could not be woken.
 */
function slotSleeper(store: Store, workspaceId: string): string | undefined {
  const defaults = store.sessions.open(workspaceId).filter(({ isDefault }) => isDefault);
  if (defaults.some(({ state }) => state === 'live')) return undefined;
  return defaults[0]?.sessionId;
}
