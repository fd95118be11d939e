// Creates what the daemon serves over HTTP: the catalog and the transcripts of its sessions, the route table, the listener.
import type { AgentHost } from './agent/agent.ts';
import type { SessionParts } from './app-sessions.ts';
import { AgentSessions } from './catalog/agent-sessions.ts';
import { Catalog } from './catalog/catalog.ts';
import { CatalogChanges } from './catalog/changes.ts';
import { CatalogItems } from './catalog/items.ts';
import { Transcripts } from './catalog/transcripts.ts';
import type { DaemonConfig } from './config.ts';
import type { ApiDocument } from './contract/api-document.ts';
import type { Clock } from './contract/clock.ts';
import type { FeedBody } from './contract/feed.ts';
import type { Log } from './contract/log.ts';
import type { FeedPublisher } from './feed/publisher.ts';
import { guardPolicy } from './http/guard.ts';
import { DaemonListener } from './http/listen.ts';
import { RateGate } from './http/rate-gate.ts';
import type { RouteContext } from './http/route-context.ts';
import { conditionalFeatures } from './http/routes/meta.ts';
import {
  AGENT_CALL_ROUTES,
  boundRoutes,
  CATALOG_ROUTES,
  CONTROL_ROUTES,
  DAEMON_ROUTES,
  HISTORY_ROUTES,
  SESSION_ROUTES,
} from './http/routes.ts';
import { createDaemonServer, type DaemonRoute } from './http/server.ts';
import type { Streams } from './http/streams.ts';
import type { PermissionSettings } from './session/permissions.ts';

/** Facts of the daemon that its routes answer with. */
export interface DaemonSelf {
  readonly version: string;
  /** Start time of the daemon's process, in the units of /proc; 0 where /proc cannot be read. */
  readonly startTime: number;
  readonly apiDocument: ApiDocument;
  readonly permissionSettings: PermissionSettings;
}

export interface DaemonHttpDeps {
  readonly config: DaemonConfig;
  readonly clock: Clock;
  readonly log: Log;
  readonly agent: AgentHost;
  readonly feed: FeedPublisher;
  readonly parts: Pick<SessionParts, 'retirement' | 'ownership' | 'sessions' | 'restores'>;
  readonly streams: Streams;
  readonly self: DaemonSelf;
}

/** Creates the listener with all routes of the daemon. It does not listen before `open`. */
export function createDaemonListener(deps: DaemonHttpDeps): DaemonListener {
  const { config, clock, log } = deps;
  const { listen, limits, coordinated, isRateLimited } = config;
  const rateGate = isRateLimited ? new RateGate(limits, clock) : undefined;
  const routes = [...clientRoutes(deps, rateGate), ...(coordinated === undefined ? [] : controlRoutes(deps))];
  const guard = guardPolicy(config, () => listener.port);
  const listener = new DaemonListener(listen, () =>
    createDaemonServer({ routes, guard, limits, log, rateGate }),
  );
  return listener;
}

function clientRoutes(deps: DaemonHttpDeps, rateGate: RateGate | undefined): readonly DaemonRoute[] {
  const { config, clock, log, agent, feed, parts, streams, self } = deps;
  const { workspace, limits } = config;
  const { sessions, restores } = parts;
  const { transcripts, catalog, catalogChanges } = catalogServices(deps);
  const { version, apiDocument, permissionSettings } = self;
  const permissionPolicy = permissionSettings.policy;
  const features = conditionalFeatures(config);
  const capabilities = { workspace, version, limits, permissionPolicy, features };
  const activity = {
    lastAtMs: () => feed.lastActivityAtMs,
    isAgentAlive: () => agent.current() !== undefined,
  };
  return [
    ...boundRoutes(DAEMON_ROUTES, { capabilities, apiDocument, sessions, clock, activity, rateGate }),
    ...boundRoutes(SESSION_ROUTES, { workspace, limits, clock, log, sessions, restores, feed, streams }),
    ...boundRoutes(HISTORY_ROUTES, { workspace, transcripts }),
    ...boundRoutes(CATALOG_ROUTES, { workspace, sessions, catalog, catalogChanges }),
    ...boundRoutes(AGENT_CALL_ROUTES, { limits, sessions }),
  ];
}

function controlRoutes(deps: DaemonHttpDeps): readonly DaemonRoute[] {
  const { config, clock, feed, parts, streams } = deps;
  const { sessions, restores } = parts;
  const { version, startTime } = deps.self;
  const self = { incarnation: config.coordinated?.incarnation ?? '', pid: process.pid, startTime, version };
  return boundRoutes(CONTROL_ROUTES, { self, clock, sessions, restores, feed, streams });
}

function catalogServices(
  deps: DaemonHttpDeps,
): Pick<RouteContext, 'transcripts' | 'catalog' | 'catalogChanges'> {
  const { config, clock, log, agent, feed, parts } = deps;
  const { workspace, limits } = config;
  const { retirement, ownership, sessions } = parts;
  const { history } = ownership;
  const agentSessions = new AgentSessions({ workspace, agent, retirement, history, clock, limits, log });
  const transcripts = new Transcripts({ workspace, sessions, history, ownership, agentSessions, limits });
  const items = new CatalogItems({ sessions, history, agentSessions });
  const report = (body: FeedBody) => feed.publish(body);
  return {
    transcripts,
    catalog: new Catalog({ items, clock, readIdle: (sessionId) => transcripts.readIdle(sessionId) }),
    catalogChanges: new CatalogChanges({ sessions, history, agentSessions, clock, report }),
  };
}
