// Composition root of the coordinator: makes the parts, starts them in order, stops them in reverse.
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import type Router from '@koa/router';
import { ApiDocument } from '../daemon/contract/api-document.ts';
import { systemClock } from '../daemon/contract/clock.ts';
import type { Log } from '../daemon/contract/log.ts';
import type { Config } from './config.ts';
import { addBackup } from './http/admin/backup.ts';
import { createAdminRouter } from './http/admin/router.ts';
import { type AdminServer, createAdminServer } from './http/admin/server.ts';
import { addWhy } from './http/admin/why.ts';
import { createDaemonClient } from './http/daemon-client.ts';
import { createForwarder, type Forwarder, MAX_FRAME_BYTES } from './http/forward.ts';
import type { GuardPolicy } from './http/guard.ts';
import { listenOnPort, listenOnSocket } from './http/listen.ts';
import type { Places } from './http/locate.ts';
import { restoreOn } from './http/restore-call.ts';
import { createRoutes } from './http/routes.ts';
import { createListener, type Listener } from './http/server.ts';
import { UpstreamAgents } from './http/upstream-agents.ts';
import type { Visits } from './http/visit.ts';
import { type CgroupProbe, cgroupWords, probeCgroups } from './launch/cgroup-probe.ts';
import { checkSocketPath, ensureRuntimeDir, ensureStateDir, socketPathFor } from './launch/directories.ts';
import { askIdentity, readBootId } from './launch/identity.ts';
import { rotateIfLarge } from './launch/log-files.ts';
import type { Launcher } from './launch/launcher.ts';
import { createProcessLauncher } from './launch/process.ts';
import { acquireStateLock, type StateLock } from './store/lock.ts';
import { openStore } from './store/open.ts';
import type { Store } from './store/store.ts';
import { recordAnswer } from './supervise/answer-recorder.ts';
import { feedFollower } from './supervise/feed.ts';
import { createFlightRecorder, type FlightRecorder } from './supervise/flight-recorder.ts';
import { recoverLostDaemons } from './supervise/lost-daemons.ts';
import { Maintenance } from './supervise/maintenance.ts';
import { createRecorder, type Recorder } from './supervise/recorder.ts';
import { Restorer } from './supervise/restorer.ts';
import { SessionAdmission } from './supervise/session-admission.ts';
import { createSupervisor, type Supervisor } from './supervise/supervisor.ts';
import { WorkspaceRegistry } from './supervise/workspace-registry.ts';

/** Name of the database in the state directory. */
export const DATABASE_FILE = 'coordinator.db';
/** Name of the admin plane's socket in the runtime directory. */
export const ADMIN_SOCKET = 'admin.sock';
/** A load snapshot is the largest answer that is read whole: compacted replay and journal, 12 MiB at their bounds. */
const MAX_ANSWER_BYTES = 24 * 1024 * 1024;
/** Well under a daemon's keep-alive timeout, so that no request goes out on a connection about to close. */
const UPSTREAM_IDLE_MS = 30_000;
const UNDO_TIMEOUT_MS = 5000;
/** Rows that a listing from the store looks at; the oldest beyond it are found by load alone. */
const MAX_LISTED = 5000;
const KEPT_LOGS = 2;
/** For the last bytes of streams that end when the daemons are left running. */
const LEAVE_GRACE_MS = 500;
/** Share of the stop's deadline that the daemons get; the rest is for streams, store and sockets. */
const DAEMONS_SHARE = 0.8;

export interface CoordinatorOptions {
  readonly config: Config;
  readonly version: string;
  /** Program and first arguments of a daemon. */
  readonly daemonCommand: readonly string[];
  /** Environment for daemons, stripped of our secrets. */
  readonly daemonEnv: Readonly<Record<string, string>>;
  readonly runtimeBases: { readonly xdgRuntimeDir: string | undefined; readonly tmpDir: string };
  /** File of the API description, as JSON. */
  readonly openapiPath: string;
  readonly log: Log;
  /** An operator asked for the stop over the admin plane. */
  readonly requestStop: (reason: string) => void;
}

/** Makes the directories of a coordinator. @throws UnusablePath when one is not ours, or too long for a socket. */
function ensureDirectories(
  stateDir: string,
  bases: CoordinatorOptions['runtimeBases'],
): { readonly stateDir: string; readonly runtimeDir: string; readonly adminPath: string } {
  const canonical = ensureStateDir(stateDir);
  const uid = process.getuid?.() ?? 0;
  const runtimeDir = ensureRuntimeDir({ ...bases, uid, stateDir: canonical });
  const adminPath = join(runtimeDir, ADMIN_SOCKET);
  checkSocketPath(adminPath);
  return { stateDir: canonical, runtimeDir, adminPath };
}

export class Coordinator {
  readonly #o: CoordinatorOptions;
  readonly #runtimeDir: string;
  readonly #stateDir: string;
  readonly #adminPath: string;
  readonly #cgroups: CgroupProbe;
  readonly #lock: StateLock;
  readonly #store: Store;
  readonly #launcher: Launcher;
  readonly #buryLost: () => Promise<void>;
  readonly #recorder: Recorder;
  readonly #flight: FlightRecorder;
  readonly #supervisor: Supervisor;
  readonly #restorer: Restorer;
  readonly #maintenance: Maintenance;
  readonly #apiDocument: ApiDocument;
  readonly #agents = new UpstreamAgents(UPSTREAM_IDLE_MS);
  readonly #forwarder: Forwarder;
  readonly #listener: Listener;
  readonly #admin: AdminServer;
  #port = 0;
  #stopping: Promise<void> | undefined;

  /** Takes the state directory. @throws StateDirLocked, SchemaTooNew, UnusablePath, or Error of the file system. */
  constructor(options: CoordinatorOptions) {
    this.#o = options;
    const { config, log, runtimeBases } = options;
    this.#apiDocument = new ApiDocument(options.openapiPath);
    const { stateDir, runtimeDir, adminPath } = ensureDirectories(config.stateDir, runtimeBases);
    this.#stateDir = stateDir;
    this.#runtimeDir = runtimeDir;
    this.#adminPath = adminPath;
    mkdirSync(join(stateDir, 'logs'), { recursive: true, mode: 0o700 });
    this.#cgroups = config.usesCgroups ? probeCgroups() : { isUsable: false, why: '--without-cgroups is set' };
    this.#lock = acquireStateLock(stateDir, { pid: process.pid, adminPath });
    this.#store = openStore({
      path: join(stateDir, DATABASE_FILE),
      clock: systemClock,
      log,
      retention: config.retention,
    });
    this.#launcher = this.#makeLauncher();
    this.#buryLost = recoverLostDaemons({
      store: this.#store,
      launcher: this.#launcher,
      clock: systemClock,
      log,
    });
    this.#recorder = createRecorder({
      store: this.#store,
      clock: systemClock,
      log,
      settings: config.supervise,
    });
    this.#flight = createFlightRecorder({ store: this.#store, clock: systemClock, log });
    const registry = new WorkspaceRegistry({
      workspaces: config.workspaces,
      roots: config.roots,
      store: this.#store,
      clock: systemClock,
      log,
    });
    this.#supervisor = this.#makeSupervisor();
    this.#restorer = this.#makeRestorer(registry);
    this.#maintenance = new Maintenance({
      store: this.#store,
      log,
      fleet: this.#supervisor,
      restoreAll: (workspaceId) => this.#restorer.restoreAll(workspaceId),
      workspaceById: (id) => registry.byId(id),
    });
    this.#forwarder = createForwarder({
      agents: this.#agents,
      clock: systemClock,
      log,
      maxFrameBytes: MAX_FRAME_BYTES,
      streamEnd: (workspaceId) => ({
        retryAfterMs: config.limits.retryHintMs,
        isResumable: this.#store.daemons.latest(workspaceId)?.canLoad === 1,
      }),
    });
    const admin = this.#adminRouter(registry);
    this.#listener = this.#makeListener(registry, admin);
    this.#admin = createAdminServer(this.#ownAdminRouter(registry), systemClock, log);
  }

  /**
   * The bound TCP port; 0 on a unix socket. It stays while the listener closes: requests that are still arriving are
   * judged by it.
   */
  get port(): number {
    return this.#port;
  }

  get adminPath(): string {
    return this.#adminPath;
  }

  get stateDir(): string {
    return this.#stateDir;
  }

  /**
   * Opens the listeners, then finds the daemons of an earlier coordinator; requests for their workspaces wait for that.
   * @throws Error (EADDRINUSE and kin) when an address cannot be bound; nothing is left running then.
   */
  async start(): Promise<void> {
    const adopted = Promise.all([this.#supervisor.adoptAll(), this.#buryLost()]);
    this.#apiDocument
      .bytes()
      .catch((error: unknown) => this.#o.log.warn({ err: error }, 'cannot load the API description'));
    try {
      await listenOnSocket(this.#admin.server, this.#adminPath);
      const { listen } = this.#o.config;
      if (listen.kind === 'unix') await listenOnSocket(this.#listener.server, listen.path);
      else this.#port = await listenOnPort(this.#listener.server, listen.host, listen.port);
    } catch (error) {
      await adopted;
      await this.leave();
      throw error;
    }
    await adopted;
    this.#restorer.resume();
  }

  /** Ends the daemons, then everything else, within the configured time. Idempotent. */
  stop(): Promise<void> {
    this.#stopping ??= this.#stop();
    return this.#stopping;
  }

  /** Kills every daemon's whole tree at once. Synchronous. */
  killNow(): void {
    this.#supervisor.killAllNow();
  }

  /** Closes this coordinator and leaves the daemons running for the next one. */
  async leave(): Promise<void> {
    this.#restorer.stop();
    await this.#listener.close(LEAVE_GRACE_MS);
    await this.#supervisor.detach();
    await this.#closeRest();
  }

  async #stop(): Promise<void> {
    const { stopTimeoutMs } = this.#o.config;
    // New work is refused first; running streams then hear of their sessions' end from the daemons themselves.
    await this.#supervisor.stopAll(Math.round(stopTimeoutMs * DAEMONS_SHARE));
    await this.#listener.close(Math.round(stopTimeoutMs * (1 - DAEMONS_SHARE)));
    await this.#closeRest();
  }

  async #closeRest(): Promise<void> {
    this.#agents.close();
    await this.#admin.close(0);
    await this.#recorder.flushSeen();
    this.#store.close();
    this.#lock.release();
  }

  #makeLauncher(): Launcher {
    const { log, daemonCommand, daemonEnv: env } = this.#o;
    log.info({ cgroups: cgroupWords(this.#cgroups) }, 'process trees');
    return createProcessLauncher({
      daemonCommand,
      runtimeDir: this.#runtimeDir,
      env,
      clock: systemClock,
      log,
      bootId: readBootId(),
      cgroups: this.#cgroups.isUsable ? this.#cgroups.cgroups : undefined,
    });
  }

  #makeSupervisor(): Supervisor {
    const { config, log } = this.#o;
    return createSupervisor({
      store: this.#store,
      launcher: this.#launcher,
      clock: systemClock,
      log,
      settings: config.supervise,
      recorder: this.#recorder,
      flight: this.#flight,
      followFeed: feedFollower({ clock: systemClock, log, settings: config.supervise }),
      askIdentity: (at, timeoutMs) => askIdentity(at.socketPath, at.secret, timeoutMs).catch(() => undefined),
      bootId: readBootId(),
      layoutOf: (workspace, incarnation) => ({
        socketPath: socketPathFor(this.#runtimeDir, incarnation),
        logPath: join(this.#stateDir, 'logs', `${workspace.id}.log`),
        daemonStateDir: this.#daemonStateDir(workspace.id),
        bridge: {
          agent: config.agent,
          permissionPolicy: config.permissionPolicy,
          consensusQuorum: config.consensusQuorum ?? null,
          rateLimit: config.isRateLimited,
          // The total is counted over the fleet, here.
          limits: { ...config.limits, maxTotalSessions: 0 },
          logLevel: config.logLevel,
        },
      }),
      onRestorable: (workspaceId) => this.#restorer.restoreAll(workspaceId),
      endStreams: (workspaceId) => this.#forwarder.endStreams('its daemon ends in order', workspaceId),
      rotateLogs: (paths) => {
        for (const path of paths) rotateIfLarge(path, config.maxLogBytes, KEPT_LOGS);
      },
      random: Math.random,
    });
  }

  #makeRestorer(registry: WorkspaceRegistry): Restorer {
    const { config, log } = this.#o;
    const client = createDaemonClient(this.#agents, MAX_ANSWER_BYTES);
    return new Restorer({
      store: this.#store,
      recorder: this.#recorder,
      fleet: () => this.#supervisor,
      workspaceById: (id) => registry.byId(id),
      restoreOn: (endpoint, request, signal) => restoreOn(client, endpoint, request, signal),
      clock: systemClock,
      log,
      settings: config.supervise,
    });
  }

  #daemonStateDir(workspaceId: string): string {
    const path = join(this.#stateDir, 'workspaces', workspaceId);
    mkdirSync(path, { recursive: true, mode: 0o700 });
    return path;
  }

  /** The admin socket's: whoever can open that is this user, whose files may be written. */
  #ownAdminRouter(registry: WorkspaceRegistry): Router {
    const router = this.#adminRouter(registry);
    addBackup(router, { store: this.#store, clock: systemClock, log: this.#o.log });
    return router;
  }

  #adminRouter(registry: WorkspaceRegistry): Router {
    const { version, config, log, requestStop } = this.#o;
    const router = createAdminRouter({
      version,
      config: { ...config, cgroups: cgroupWords(this.#cgroups) },
      book: registry,
      fleet: this.#supervisor,
      store: this.#store,
      clock: systemClock,
      beatStaleMs: config.limits.feedBeatMs * config.supervise.beatTimeoutFactor,
      requestStop,
      log,
    });
    addWhy(router, {
      book: registry,
      fleet: this.#supervisor,
      store: this.#store,
      flight: this.#flight,
      clock: systemClock,
    });
    return router;
  }

  #makeListener(registry: WorkspaceRegistry, admin: Router): Listener {
    const { config, log, version } = this.#o;
    const { limits } = config;
    const visits: Visits = new WeakMap();
    const places: Places = {
      book: registry,
      index: this.#recorder,
      fleet: this.#supervisor,
      resting: {
        bring: (sessionId, signal) => this.#restorer.bring(sessionId, signal),
        await: (sessionId, signal) => this.#restorer.await(sessionId, signal),
        close: (sessionId) => this.#recorder.rest(sessionId, 'closed', 'client_close'),
      },
      holdOf: (workspaceId, routeClass) => this.#maintenance.holdOf(workspaceId, routeClass),
    };
    const policy = () => this.#policy();
    const routes = createRoutes({
      visits,
      policy,
      sessions: {
        places,
        fleet: this.#supervisor,
        daemon: createDaemonClient(this.#agents, MAX_ANSWER_BYTES),
        recorder: {
          recordAnswer: (shown) => recordAnswer({ store: this.#store, recorder: this.#recorder }, shown),
        },
        clock: systemClock,
        log,
        undoTimeoutMs: UNDO_TIMEOUT_MS,
        slotSleeper: (id) =>
          this.#store.sessions.open(id).find(({ isDefault, state }) => isDefault && state !== 'live')
            ?.sessionId,
        admission: new SessionAdmission({
          maxTotalSessions: limits.maxTotalSessions,
          countLive: () => this.#store.sessions.countLive(),
          hasDefault: (id) => this.#store.sessions.live(id).some(({ isDefault }) => isDefault),
        }),
      },
      rows: {
        get: this.#store.sessions.get,
        listed: (id) => this.#store.sessions.newest(id, MAX_LISTED),
        countLive: this.#store.sessions.countLive,
        clients: this.#store.sessions.clients,
      },
      apiDocument: this.#apiDocument,
      fleet: this.#supervisor,
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
    return createListener({
      policy,
      places,
      forwarder: this.#forwarder,
      routes,
      admin,
      visits,
      limits,
      clock: systemClock,
      log,
    });
  }

  #policy(): GuardPolicy {
    const { listen, token, requireAuth, allowedOrigins, trustedProxies } = this.#o.config;
    return {
      listener: listen.kind,
      boundHost: listen.kind === 'tcp' ? listen.host : '',
      port: this.port,
      token,
      requireAuth,
      allowedOrigins,
      trustedProxies,
    };
  }
}

/** @returns the bound port. */
