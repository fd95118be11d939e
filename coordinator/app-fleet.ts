// The half of the composition root that makes the parts for daemons and sessions, from the launcher to the supervisor and
// restorer.
import { systemClock } from '../daemon/contract/clock.ts';
import type { BridgeSettings } from '../daemon/contract/handshake.ts';
import type { Log } from '../daemon/contract/log.ts';
import type { Config } from './config.ts';
import { type CgroupProbe, cgroupWords } from './launch/cgroup-probe.ts';
import { createLauncher } from './launch/create-launcher.ts';
import type { Launcher } from './launch/launcher.ts';
import type { Store } from './store/store.ts';
import type { DaemonLink } from './supervise/daemon/link.ts';
import { feedFollower } from './supervise/feed/follower.ts';
import type { WorkspaceKey } from './supervise/fleet.ts';
import { createEventJournal, type EventJournal } from './supervise/records/event-journal.ts';
import { createSessionRecorder, type SessionRecorder } from './supervise/records/session-recorder.ts';
import { RestorableWorkspaces } from './supervise/restorable-workspaces.ts';
import { SessionAdmission } from './supervise/sessions/admission.ts';
import { RestoreRecord } from './supervise/sessions/restore-record.ts';
import { restoreWithRetry } from './supervise/sessions/restore-retry.ts';
import { Restorer } from './supervise/sessions/restorer.ts';
import { SessionRestore } from './supervise/sessions/session-restore.ts';
import { recoverLostDaemons } from './supervise/supervisor/lost-daemons.ts';
import { createSupervisor, type Supervisor } from './supervise/supervisor/supervisor.ts';
import { Maintenance } from './supervise/workspaces/maintenance.ts';
import { WorkspaceRegistry } from './supervise/workspaces/registry.ts';
import { releaseOn, restoreOn } from './upstream/control-calls.ts';
import type { DaemonClient } from './upstream/daemon-client.ts';
import { askIdentity } from './upstream/identity.ts';

/** Longest wait for a daemon's release; the daemon itself waits 2 s for clients that do not read. */
const RELEASE_TIMEOUT_MS = 4000;

export interface FleetOptions {
  readonly config: Config;
  readonly log: Log;
  readonly store: Store;
  readonly stateDir: string;
  readonly runtimeDir: string;
  readonly cgroups: CgroupProbe;
  /** Program and first arguments of a daemon. */
  readonly daemonCommand: readonly string[];
  /** Environment for daemons, without the coordinator's secrets. */
  readonly daemonEnv: Readonly<Record<string, string>>;
  /** Makes the coordinator's own calls to daemons. */
  readonly client: DaemonClient;
  /** Ends the event streams of the workspace's clients at a frame boundary, without an error frame. */
  readonly endStreams: (workspaceId: string) => void;
}

export interface FleetParts {
  readonly registry: WorkspaceRegistry;
  readonly recorder: SessionRecorder;
  readonly journal: EventJournal;
  readonly admission: SessionAdmission;
  readonly supervisor: Supervisor;
  readonly restorer: Restorer;
  readonly maintenance: Maintenance;
  /** Removes what is left of dead daemons that the database does not know. Called once, at start. */
  readonly buryLost: () => Promise<void>;
}

/** Makes all parts for daemons and sessions. Starts nothing. */
export function assembleFleet(options: FleetOptions): FleetParts {
  const { config, log, store } = options;
  const clock = systemClock;
  const launcher = makeLauncher(options);
  const buryLost = recoverLostDaemons({ store, launcher, clock, log });
  const recorder = createSessionRecorder({ store, clock, log, settings: config.supervise });
  const journal = createEventJournal({ store, clock, log });
  const { workspaces, roots } = config;
  const registry = new WorkspaceRegistry({ workspaces, roots, store, clock, log });
  const restorable = new RestorableWorkspaces();
  const supervisor = createSupervisor({
    store,
    launcher,
    link: linkOf(options),
    records: { recorder, journal, restorable },
    bridge: bridgeOf(config),
    settings: config.supervise,
    clock,
    log,
    random: Math.random,
  });
  const admission = new SessionAdmission({
    maxTotalSessions: config.limits.maxTotalSessions,
    countLive: () => store.sessions.countLive(),
    hasDefault: (id) => store.sessions.live(id).some(({ isDefault }) => isDefault),
    fleet: supervisor,
    journal,
    retryAfterMs: config.supervise.stopGraceMs,
  });
  const workspaceById = (id: string) => registry.byId(id);
  const restorer = makeRestorer(options, {
    recorder,
    journal,
    restorable,
    workspaceById,
    supervisor,
    admission,
  });
  const maintenance = new Maintenance({
    store,
    journal,
    log,
    fleet: supervisor,
    restorable,
    workspaceById,
  });
  return { registry, recorder, journal, admission, supervisor, restorer, maintenance, buryLost };
}

function makeRestorer(
  { config, log, store, client }: Pick<FleetOptions, 'config' | 'log' | 'store' | 'client'>,
  parts: Pick<FleetParts, 'recorder' | 'journal' | 'supervisor' | 'admission'> & {
    readonly restorable: RestorableWorkspaces;
    readonly workspaceById: (workspaceId: string) => WorkspaceKey | undefined;
  },
): Restorer {
  const { recorder, journal, supervisor, admission, restorable, workspaceById } = parts;
  const clock = systemClock;
  const settings = config.supervise;
  const record = new RestoreRecord({ store, recorder, journal, clock, log });
  const restore = new SessionRestore({
    store,
    recorder,
    record,
    admission,
    fleet: supervisor,
    workspaceById,
    restoreOn: (endpoint, request, signal) => restoreOn(client, endpoint, request, signal),
    settings,
  });
  return new Restorer({
    store,
    recorder,
    restorable,
    restore: (session, signal) => restoreWithRetry({ restore, clock, log }, session, signal),
    record,
    clock,
    random: Math.random,
    settings,
  });
}

function makeLauncher(options: FleetOptions): Launcher {
  const { config, log, stateDir, runtimeDir, daemonCommand, daemonEnv, cgroups } = options;
  const { maxLogBytes } = config;
  const { adoptTimeoutMs } = config.supervise;
  log.info({ cgroups: cgroupWords(cgroups) }, 'cgroup support');
  return createLauncher({
    stateDir,
    runtimeDir,
    daemonCommand,
    daemonEnv,
    cgroups,
    clock: systemClock,
    log,
    limits: { adoptTimeoutMs, maxLogBytes },
  });
}

function linkOf({ config, log, client, endStreams }: FleetOptions): DaemonLink {
  return {
    followFeed: feedFollower({ clock: systemClock, log, settings: config.supervise }),
    askIdentity: (at, timeoutMs) => askIdentity(at, timeoutMs).catch(() => undefined),
    release: (endpoint, request) =>
      releaseOn(client, endpoint, request, AbortSignal.timeout(RELEASE_TIMEOUT_MS)),
    endStreams,
  };
}

function bridgeOf(config: Config): BridgeSettings {
  return {
    agent: config.agent,
    permissionPolicy: config.permissionPolicy,
    consensusQuorum: config.consensusQuorum ?? null,
    rateLimit: config.isRateLimited,
    // 0 turns the daemon's own check off: the coordinator counts sessions over the whole fleet.
    limits: { ...config.limits, maxTotalSessions: 0 },
    logLevel: config.logLevel,
  };
}
