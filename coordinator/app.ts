// Composition root of the coordinator: makes the parts, starts them in order, stops them in reverse.
import { join } from 'node:path';
import { ApiDocument } from '../daemon/contract/api-document.ts';
import { systemClock } from '../daemon/contract/clock.ts';
import type { Log } from '../daemon/contract/log.ts';
import { assembleFleet, type FleetParts } from './app-fleet.ts';
import { assembleHttp } from './app-http.ts';
import type { Config } from './config.ts';
import type { AdminServer } from './http/admin/server.ts';
import { EventStreams } from './http/event-streams.ts';
import { createForwarder, MAX_FRAME_BYTES } from './http/forward.ts';
import { listenOnPort, listenOnSocket } from './http/listen.ts';
import type { ClientListener } from './http/server.ts';
import { type CgroupProbe, probeCgroups } from './launch/cgroup-probe.ts';
import { checkSocketPath, ensureRuntimeDir, ensureStateDir } from './launch/directories.ts';
import { acquireStateLock, type StateLock } from './store/lock.ts';
import { openStore } from './store/open.ts';
import type { Store } from './store/store.ts';
import { createDaemonClient } from './upstream/daemon-client.ts';
import { DaemonConnections } from './upstream/daemon-connections.ts';

/** File name of the database in the state directory. */
export const DATABASE_FILE = 'coordinator.db';
/** File name of the admin plane's socket in the runtime directory. */
export const ADMIN_SOCKET = 'admin.sock';
/**
 * How long an idle connection to a daemon is kept: well under the daemon's keep-alive timeout, so that no request goes out on a
 * connection that the daemon is about to close.
 */
const UPSTREAM_IDLE_MS = 30_000;
/**
 * Bound of a daemon's answer that is read whole. The largest answers the load of a session: compacted replay and journal, 12 MiB
 * at their bounds.
 */
const MAX_ANSWER_BYTES = 24 * 1024 * 1024;
/** Time for clients to read the last bytes of their streams when the coordinator ends and leaves its daemons running. */
const LEAVE_GRACE_MS = 500;
/** Share of `stopTimeoutMs` in which the daemons have to end; the rest is for the listener and its connections. */
const DAEMONS_SHARE = 0.8;

export interface CoordinatorOptions {
  readonly config: Config;
  readonly version: string;
  /** Program and first arguments of a daemon, used unless `--daemon-command` is set. */
  readonly daemonCommand: readonly string[];
  /** Environment for daemons, without the coordinator's secrets. */
  readonly daemonEnv: Readonly<Record<string, string>>;
  readonly runtimeBases: { readonly xdgRuntimeDir: string | undefined; readonly tmpDir: string };
  /** Path of the API description, a JSON file. */
  readonly openapiPath: string;
  readonly log: Log;
  /** Called when an operator asks over the admin plane for the stop of the coordinator. */
  readonly requestStop: (reason: string, leavesDaemons: boolean) => void;
}

/**
 * Makes the state and runtime directories.
 * @throws UnusablePath when a directory is not this user's, or the path of the admin socket is too long.
 */
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

/** The parts of a coordinator; `port` is filled in once the client listener is bound. */
interface Parts {
  readonly config: Config;
  readonly log: Log;
  readonly stateDir: string;
  readonly adminPath: string;
  readonly lock: StateLock;
  readonly store: Store;
  readonly fleet: FleetParts;
  readonly apiDocument: ApiDocument;
  readonly connections: DaemonConnections;
  readonly listener: ClientListener;
  readonly admin: AdminServer;
  readonly port: BoundPort;
}

interface BoundPort {
  number: number;
}

export class Coordinator {
  readonly #parts: Parts;
  #stopping: Promise<void> | undefined;

  private constructor(parts: Parts) {
    this.#parts = parts;
  }

  /**
   * Locks the state directory, opens the store and makes all parts. Starts nothing. On an error, nothing is left locked or open.
   * @throws StateDirLocked, SchemaTooNew, UnusablePath, or Error of the file system.
   */
  static open(options: CoordinatorOptions): Coordinator {
    const { config, log, runtimeBases } = options;
    const directories = ensureDirectories(config.stateDir, runtimeBases);
    const { stateDir, adminPath } = directories;
    const lock = acquireStateLock(stateDir, { pid: process.pid, adminPath });
    let store: Store | undefined;
    try {
      const { retention } = config;
      store = openStore({ path: join(stateDir, DATABASE_FILE), clock: systemClock, log, retention });
      return new Coordinator({
        config,
        log,
        stateDir,
        adminPath,
        lock,
        store,
        ...assemble(options, directories, store),
      });
    } catch (error) {
      store?.close();
      lock.unlock();
      throw error;
    }
  }

  /**
   * The bound TCP port; 0 on a unix socket. The number stays known while the listener closes, because the guard needs it to judge
   * requests that still arrive.
   */
  get port(): number {
    return this.#parts.port.number;
  }

  get adminPath(): string {
    return this.#parts.adminPath;
  }

  get stateDir(): string {
    return this.#parts.stateDir;
  }

  /**
   * Opens the listeners and adopts the daemons of an earlier coordinator; requests for their workspaces wait for the adoption.
   * @throws Error (EADDRINUSE and kin) when an address cannot be bound; nothing is left running then.
   */
  async start(): Promise<void> {
    const { config, log, adminPath, fleet, apiDocument, admin, listener, port } = this.#parts;
    const adopted = Promise.all([fleet.supervisor.adoptAll(), fleet.buryLost()]);
    // The adoption is awaited only after the listeners are open; a failure before that must not count as an unhandled rejection.
    adopted.catch(() => undefined);
    apiDocument
      .bytes()
      .catch((error: unknown) => log.warn({ err: error }, 'cannot load the API description'));
    try {
      await listenOnSocket(admin.server, adminPath);
      const { listen } = config;
      if (listen.kind === 'unix') await listenOnSocket(listener.server, listen.path);
      else port.number = await listenOnPort(listener.server, listen.host, listen.port);
      await adopted;
    } catch (error) {
      await adopted.catch(() => undefined);
      await this.leave();
      throw error;
    }
    fleet.restorer.resume();
  }

  /** Ends the daemons, then everything else, within `stopTimeoutMs` of the configuration. Idempotent. */
  stop(): Promise<void> {
    this.#stopping ??= this.#stop();
    return this.#stopping;
  }

  /** Kills every daemon's whole process tree at once. Synchronous. */
  killNow(): void {
    this.#parts.fleet.supervisor.killAllNow();
  }

  /** Closes this coordinator and leaves the daemons running for the next coordinator. */
  async leave(): Promise<void> {
    const { fleet, listener } = this.#parts;
    fleet.restorer.stop();
    await listener.close(LEAVE_GRACE_MS);
    await fleet.supervisor.detach();
    await this.#closeRest();
  }

  async #stop(): Promise<void> {
    const { config, fleet, listener } = this.#parts;
    const { stopTimeoutMs } = config;
    fleet.restorer.stop();
    // `stopAll` refuses new work first, and ends a daemon's event streams before the daemon, so that no client takes it for dead.
    await fleet.supervisor.stopAll(Math.round(stopTimeoutMs * DAEMONS_SHARE));
    await listener.close(Math.round(stopTimeoutMs * (1 - DAEMONS_SHARE)));
    await this.#closeRest();
  }

  async #closeRest(): Promise<void> {
    const { connections, admin, fleet, store, lock } = this.#parts;
    connections.close();
    await admin.close(0);
    await fleet.recorder.flushSeen();
    store.close();
    lock.unlock();
  }
}

/** Makes all parts above the store, up to the two servers; neither server listens yet. */
function assemble(
  options: CoordinatorOptions,
  { stateDir, runtimeDir }: { readonly stateDir: string; readonly runtimeDir: string },
  store: Store,
): Pick<Parts, 'fleet' | 'apiDocument' | 'connections' | 'listener' | 'admin' | 'port'> {
  const { config, log, version, daemonCommand, daemonEnv, requestStop } = options;
  const apiDocument = new ApiDocument(options.openapiPath);
  const connections = new DaemonConnections(UPSTREAM_IDLE_MS);
  const client = createDaemonClient(connections, MAX_ANSWER_BYTES);
  const cgroups: CgroupProbe = config.usesCgroups
    ? probeCgroups()
    : { isUsable: false, why: '--without-cgroups is set' };
  const port: BoundPort = { number: 0 };
  const shared = { config, log, store, client, cgroups };
  const streams = new EventStreams(log);
  const fleet = assembleFleet({
    ...shared,
    stateDir,
    runtimeDir,
    daemonCommand: config.daemonCommand ?? daemonCommand,
    daemonEnv,
    endStreams: (workspaceId) => streams.endAll('its daemon is stopping', workspaceId),
  });
  const forwarder = createForwarder({
    connections,
    client,
    streams,
    clock: systemClock,
    log,
    maxFrameBytes: MAX_FRAME_BYTES,
    stored: (incarnation, seq) => fleet.supervisor.stored(incarnation, seq),
    streamEnd: (workspaceId) => ({
      retryAfterMs: config.limits.retryHintMs,
      isResumable: store.daemons.latest(workspaceId)?.canLoad === 1,
    }),
  });
  const servers = assembleHttp(
    { ...shared, version, apiDocument, forwarder, streams, port: () => port.number, requestStop },
    fleet,
  );
  return { fleet, apiDocument, connections, ...servers, port };
}
