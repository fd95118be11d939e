// The half of the composition root that answers: the listener for clients and the admin plane.
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
import type { Forwarder } from './http/forward.ts';
import type { ListenerPolicy } from './http/guard.ts';
import type { RequestContexts } from './http/request-context.ts';
import { createRoutes } from './http/routes.ts';
import { type ClientListener, createClientListener } from './http/server.ts';
import type { SessionDeps } from './http/sessions.ts';
import { type CgroupProbe, cgroupWords } from './launch/cgroup-probe.ts';
import type { Store } from './store/store.ts';
import { recordAnswer } from './supervise/records/answer-recorder.ts';
import type { DaemonClient } from './upstream/daemon-client.ts';

const UNDO_TIMEOUT_MS = 5000;
/** Rows that a listing from the store looks at; the oldest beyond it are found by load alone. */
const MAX_LISTED = 5000;

export interface HttpOptions {
  readonly config: Config;
  readonly version: string;
  readonly log: Log;
  readonly store: Store;
  readonly cgroups: CgroupProbe;
  readonly apiDocument: ApiDocument;
  /** Asks a daemon on the coordinator's own behalf. */
  readonly client: DaemonClient;
  readonly forwarder: Forwarder;
  /** The bound port; asked for each request, since it is known only once the server listens. */
  readonly port: () => number;
  readonly requestStop: (reason: string, leavesDaemons: boolean) => void;
}

/** Makes both servers; neither listens yet. */
export function assembleHttp(
  options: HttpOptions,
  fleet: FleetParts,
): { readonly listener: ClientListener; readonly admin: AdminServer } {
  const { store, log } = options;
  // The admin socket's own: whoever can open that is this user, whose files may be written.
  const ownRouter = adminRouter(options, fleet);
  addBackup(ownRouter, { store, clock: systemClock, log });
  return {
    listener: makeListener(options, fleet, adminRouter(options, fleet)),
    admin: createAdminServer(ownRouter, systemClock, log),
  };
}

function adminRouter(options: HttpOptions, fleet: FleetParts): Router {
  const { version, config, store, cgroups, requestStop } = options;
  const { registry: book, supervisor, journal, maintenance } = fleet;
  const clock = systemClock;
  const router = createAdminRouter({
    version,
    config: { ...config, cgroups: cgroupWords(cgroups) },
    book,
    fleet: supervisor,
    store,
    clock,
    beatStaleMs: config.limits.feedBeatMs * config.supervise.beatTimeoutFactor,
  });
  addWhy(router, { book, fleet: supervisor, store, journal, clock });
  addOperations(router, { book, maintenance, requestStop });
  return router;
}

function makeListener(options: HttpOptions, fleet: FleetParts, admin: Router): ClientListener {
  const { config, log, version, store, apiDocument, forwarder } = options;
  const { limits } = config;
  const contexts: RequestContexts = new WeakMap();
  const destination = destinationDeps(fleet);
  const policy = () => guardPolicy(options);
  const routes = createRoutes({
    contexts,
    policy,
    sessions: sessionDeps(options, fleet, destination),
    rows: {
      get: store.sessions.get,
      listed: (id) => store.sessions.newest(id, MAX_LISTED),
      countLive: store.sessions.countLive,
      clients: store.sessions.clients,
    },
    apiDocument,
    fleet: fleet.supervisor,
    facts: {
      version,
      limits,
      permissionPolicy: config.permissionPolicy,
      maxTotalSessions: limits.maxTotalSessions,
      isAuthRequired: config.requireAuth,
      isRateLimited: config.isRateLimited,
      hasAllowedOrigins: config.allowedOrigins.length > 0,
    },
    clock: systemClock,
    maxBodyBytes: limits.maxBodyBytes,
  });
  return createClientListener({
    policy,
    places: destination,
    forwarder,
    routes,
    admin,
    contexts,
    limits,
    clock: systemClock,
    log,
  });
}

function destinationDeps({
  registry,
  recorder,
  supervisor,
  restorer,
  maintenance,
  journal,
}: FleetParts): DestinationDeps {
  return {
    book: registry,
    index: recorder,
    fleet: supervisor,
    dormantSessions: {
      wake: (sessionId, signal) => restorer.wake(sessionId, signal),
      await: (sessionId, signal) => restorer.await(sessionId, signal),
      close: (sessionId) => restorer.close(sessionId),
    },
    drainReasonOf: (workspaceId, routeClass) => maintenance.drainReasonOf(workspaceId, routeClass),
    refused: (workspaceId, error) => journal.refused(workspaceId, error),
  };
}

function sessionDeps(
  { log, store, client }: HttpOptions,
  fleet: FleetParts,
  destination: DestinationDeps,
): SessionDeps {
  const { recorder, supervisor, journal } = fleet;
  return {
    destination,
    fleet: supervisor,
    daemon: client,
    recorder: {
      recordAnswer: (shown) =>
        journal.counting(shown.workspaceId, () => recordAnswer({ store, recorder }, shown)),
    },
    clock: systemClock,
    log,
    undoTimeoutMs: UNDO_TIMEOUT_MS,
    slotSleeper: (id) => slotSleeper(store, id),
    admission: fleet.admission,
  };
}

function guardPolicy({ config, port }: HttpOptions): ListenerPolicy {
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

/** None while the slot has a live session: one that could not be woken has left it to that. */
function slotSleeper(store: Store, workspaceId: string): string | undefined {
  const defaults = store.sessions.open(workspaceId).filter(({ isDefault }) => isDefault);
  if (defaults.some(({ state }) => state === 'live')) return undefined;
  return defaults[0]?.sessionId;
}
