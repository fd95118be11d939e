// A whole listener over fakes: daemons on real sockets; the supervisor, the registry, the index and the store as plain objects.
import { mkdirSync, mkdtempSync, realpathSync, rmSync } from 'node:fs';
import type { RequestListener } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { addOperations } from '../../../coordinator/http/admin/operations.ts';
import { createAdminRouter } from '../../../coordinator/http/admin/router.ts';
import type { DestinationDeps } from '../../../coordinator/http/destination.ts';
import { EventStreams } from '../../../coordinator/http/event-streams.ts';
import { createForwarder } from '../../../coordinator/http/forward.ts';
import type { ListenerPolicy } from '../../../coordinator/http/guard.ts';
import { OwnRequests, type RequestContexts } from '../../../coordinator/http/own-requests.ts';
import { createRoutes } from '../../../coordinator/http/routes.ts';
import { type ClientListener, createClientListener } from '../../../coordinator/http/server.ts';
import {
  type AcknowledgementDeps,
  postUntilStored,
} from '../../../coordinator/http/session-acknowledgement.ts';
import { WorkGate } from '../../../coordinator/http/work-gate.ts';
import type { SessionRow } from '../../../coordinator/store/store.ts';
import type { DaemonView, WorkspaceKey } from '../../../coordinator/supervise/fleet.ts';
import type { AnsweredSession } from '../../../coordinator/supervise/records/answer-recorder.ts';
import { createEventJournal } from '../../../coordinator/supervise/records/event-journal.ts';
import { Maintenance } from '../../../coordinator/supervise/workspaces/maintenance.ts';
import type {
  WorkspaceEntry,
  WorkspaceRegistry,
} from '../../../coordinator/supervise/workspaces/registry.ts';
import { createDaemonClient } from '../../../coordinator/upstream/daemon-client.ts';
import { DaemonConnections } from '../../../coordinator/upstream/daemon-connections.ts';
import type { Endpoint } from '../../../coordinator/upstream/endpoint.ts';
import { workspaceIdOf } from '../../../daemon/contract/canonical-path.ts';
import { systemClock } from '../../../daemon/contract/clock.ts';
import { fail } from '../../../daemon/contract/errors.ts';
import { limitsFrom } from '../../../daemon/contract/limits.ts';
import { FakeStore } from '../../support/fake-store.ts';
import { type Closers, type FakeDaemon, fakeDaemon, listening, log } from './fake-daemon.ts';

/** What a test may change while the listener runs. */
export interface Stage {
  readonly listener: ClientListener;
  readonly port: number;
  readonly a: WorkspaceEntry;
  readonly b: WorkspaceEntry;
  /** Where new workspaces may be made. */
  readonly dir: string;
  readonly daemon: FakeDaemon;
  /** Endpoints of ready daemons by workspace id. */
  readonly ready: Map<string, Endpoint>;
  readonly index: Map<string, string>;
  /** Sessions as the store has them. */
  readonly rows: Map<string, SessionRow>;
  /** Workspaces that were woken, in order. */
  readonly woken: string[];
  readonly shown: AnsweredSession[];
  readonly stopped: string[];
  readonly stops: string[];
  wake: (workspace: WorkspaceKey, signal: AbortSignal) => Promise<Endpoint>;
  stored: (incarnation: string, seq: number) => Promise<boolean>;
  /** Sessions that no daemon has, by state; the others of the index are live. */
  readonly withoutDaemon: Map<string, 'restoring' | 'dormant'>;
  readonly wokenSessions: string[];
  readonly closedWithoutDaemon: string[];
  /** Workspaces in which a place for a session was taken, in order. */
  readonly admitted: string[];
  /** Sessions whose restore is under way: not closed at rest. */
  readonly restoresUnderWay: Set<string>;
  awaited: (sessionId: string) => Promise<void>;
  drainReasonOf: Maintenance['drainReasonOf'];
  storeRefusal: unknown;
  slotSleeper: (workspaceId: string) => string | undefined;
  record: (shown: AnsweredSession) => void;
  views: DaemonView[];
}

const MUTABLE = [
  'wake',
  'stored',
  'record',
  'views',
  'withoutDaemon',
  'wokenSessions',
  'closedWithoutDaemon',
  'admitted',
  'restoresUnderWay',
  'awaited',
  'drainReasonOf',
  'storeRefusal',
  'slotSleeper',
] as const;

function entry(path: string, isPrimary: boolean): WorkspaceEntry {
  return { id: workspaceIdOf(path), path, displayName: undefined, isPrimary, isStatic: isPrimary };
}

function fakeRegistry(entries: WorkspaceEntry[]): Pick<WorkspaceRegistry, keyof WorkspaceRegistry> {
  return {
    find: (cwd) => entries.find(({ path }) => path === cwd),
    open: (cwd) => entries.find(({ path }) => path === cwd),
    byId: (id) => entries.find((known) => known.id === id),
    primary: () => entries.find(({ isPrimary }) => isPrimary),
    list: () => entries,
    add(cwd, displayName) {
      const made = { ...entry(cwd, false), displayName };
      entries.push(made);
      return made;
    },
    remove: (id) => {
      entries.splice(
        entries.findIndex((known) => known.id === id),
        1,
      );
    },
  };
}

interface Choices {
  readonly policy?: Partial<ListenerPolicy>;
  readonly limits?: Record<string, number>;
  readonly at?: string;
}

/** Two workspaces, `a` (primary, its daemon runs) and `b` (stopped until woken); one fake daemon answers for both. */
export async function stage(
  closers: Closers,
  daemonListener: RequestListener,
  choices: Choices = {},
): Promise<Stage> {
  const dir = realpathSync(mkdtempSync(join(tmpdir(), 'qc-list-')));
  closers.add(() => rmSync(dir, { recursive: true, force: true }));
  for (const name of ['a', 'b', 'a/sub', 'new']) mkdirSync(join(dir, name));
  const [a, b] = [entry(join(dir, 'a'), true), entry(join(dir, 'b'), false)];
  const daemon = await fakeDaemon(closers, daemonListener);
  const endpointOf = (id: string): Endpoint => ({
    ...daemon.endpoint,
    workspaceId: id,
    incarnation: `${id}-1`,
  });
  const ready = new Map([[a.id, endpointOf(a.id)]]);
  const limits = limitsFrom(choices.limits ?? {});
  const connections = new DaemonConnections(5000);
  closers.add(() => connections.close());
  const client = createDaemonClient(connections, 1024 * 1024);
  const registry = fakeRegistry([a, b]);
  const mutable: Pick<Stage, (typeof MUTABLE)[number]> = {
    withoutDaemon: new Map(),
    wokenSessions: [],
    closedWithoutDaemon: [],
    admitted: [],
    restoresUnderWay: new Set(),
    awaited: () => Promise.resolve(),
    drainReasonOf: () => undefined,
    storeRefusal: undefined,
    slotSleeper: () => undefined,
    wake: (workspace) => {
      made.woken.push(workspace.id);
      const endpoint = endpointOf(workspace.id);
      ready.set(workspace.id, endpoint);
      return Promise.resolve(endpoint);
    },
    stored: () => Promise.resolve(true),
    record: (shown) => void made.shown.push(shown),
    views: [],
  };
  const fleet = {
    ensureReady: (workspace: WorkspaceKey, signal: AbortSignal) => made.wake(workspace, signal),
    endpointOf: (id: string) => ready.get(id),
    reachOf: (id: string) => ready.get(id),
    storeRefusalOf: () => made.storeRefusal,
    attend: (workspace: WorkspaceKey) => {
      const endpoint = ready.get(workspace.id);
      return endpoint === undefined
        ? Promise.reject(
            fail('workspace_runtime_unavailable', 'it is stopped', { workspaceId: workspace.id }),
          )
        : Promise.resolve(endpoint);
    },
    stored: (incarnation: string, seq: number) => made.stored(incarnation, seq),
    forget: () => undefined,
    stop: (id: string) => {
      made.stopped.push(id);
      ready.delete(id);
      return Promise.resolve();
    },
    view: (id: string) => made.views.find((view) => view.workspace.id === id),
    otherCommandOf: () => undefined,
    startWith: () => Promise.resolve(),
    views: () => made.views,
  };
  const index = new Map<string, string>();
  const stored = new Map<string, SessionRow>();
  const rows = {
    get: (sessionId: string) => stored.get(sessionId),
    listed: () => [],
    countLive: (id?: string) => [...index.values()].filter((owner) => owner === id).length,
    clients: () => [],
  };
  const ownerOf = (id: string) => index.get(id);
  const destination: DestinationDeps = {
    registry,
    index: {
      ownerOf,
      find: (id) => {
        const workspaceId = ownerOf(id);
        return workspaceId === undefined
          ? undefined
          : { workspaceId, state: made.withoutDaemon.get(id) ?? 'live' };
      },
    },
    fleet,
    dormantSessions: {
      wake: (id) => {
        made.wokenSessions.push(id);
        made.withoutDaemon.delete(id);
        return Promise.resolve();
      },
      await: (id) => made.awaited(id),
      close: (id) => !made.restoresUnderWay.has(id) && made.closedWithoutDaemon.push(id) > 0,
    },
    workGate: new WorkGate({
      maintenance: { drainReasonOf: (id, routeClass) => made.drainReasonOf(id, routeClass) },
      fleet,
      journal: { refused: () => undefined },
    }),
  };
  const contexts: RequestContexts = new WeakMap();
  let port = 0;
  const policy = (): ListenerPolicy => ({
    listener: choices.at === undefined ? 'tcp' : 'unix',
    boundHost: '127.0.0.1',
    port,
    token: undefined,
    requireAuth: false,
    allowedOrigins: [],
    trustedProxies: [],
    ...choices.policy,
  });
  const clock = systemClock;
  const requests = new OwnRequests(contexts, limits.maxBodyBytes);
  const selection = { registry, index: destination.index };
  const batches = { ...selection, fleet, client };
  const acknowledgement: AcknowledgementDeps = {
    fleet,
    client,
    recordAnswer: (shown) => made.record(shown),
    clock,
    log,
    undoTimeoutMs: 1000,
  };
  const routes = createRoutes({
    descriptions: {
      registry,
      fleet,
      facts: {
        version: '0.0.1',
        limits,
        permissionPolicy: 'first-responder',
        maxTotalSessions: 0,
        isAuthRequired: false,
        isRateLimited: false,
        hasAllowedOrigins: false,
      },
      apiDocument: { bytes: () => Promise.resolve(Buffer.from('{"openapi":"3.1.0"}')) },
      clock,
    },
    listings: { requests, selection, batches, rows },
    sessions: {
      requests,
      batches,
      sessions: {
        registry,
        index: destination.index,
        dormantSessions: destination.dormantSessions,
        workGate: destination.workGate,
        admission: {
          enter: (id) => {
            made.admitted.push(id);
            return Promise.resolve(() => undefined);
          },
        },
        slotSleeper: (id) => made.slotSleeper(id),
        postUntilStored: (workspace, post) => postUntilStored(acknowledgement, workspace, post),
        log,
      },
    },
    workspaces: {
      requests,
      policy,
      registry,
      selection,
      removal: { registry, fleet, countLive: rows.countLive },
    },
  });
  const store = {
    sessions: rows,
    events: { story: () => [] },
    facts: () => ({
      path: '/db',
      bytes: 1,
      walBytes: 0,
      schemaVersion: 1,
      sessions: 0,
      events: 0,
      warnings: [],
    }),
  };
  const admin = createAdminRouter({
    version: '0.0.1',
    config: { token: 'hunter2' },
    registry,
    fleet,
    store,
    clock,
    beatStaleMs: 15_000,
  });
  const fakeStore = new FakeStore();
  addOperations(admin, {
    registry,
    maintenance: new Maintenance({
      store: fakeStore,
      journal: createEventJournal({ store: fakeStore, clock, log }),
      log,
      fleet,
      restorable: { add: () => undefined },
      workspaceById: registry.byId,
    }),
    requestStop: (reason) => void made.stops.push(reason),
  });
  const streams = new EventStreams(log);
  const forwarder = createForwarder({
    connections,
    streams,
    client,
    clock,
    log,
    maxFrameBytes: 1024 * 1024,
    stored: async () => true,
    streamEnd: () => ({ retryAfterMs: 1000, isResumable: false }),
  });
  const listener = createClientListener({
    policy,
    destination,
    forwarder,
    streams,
    own: { routers: [admin, routes], contexts },
    limits,
    clock,
    log,
  });
  closers.add(() => listener.close(100));
  port = await listening(listener.server, choices.at ?? 0);
  const made: Stage = Object.assign(mutable, {
    listener,
    port,
    a,
    b,
    dir,
    daemon,
    ready,
    index,
    rows: stored,
    woken: [],
    shown: [],
    stopped: [],
    stops: [],
  });
  return made;
}
