// Composition root of the daemon: creates the parts, starts them in order, stops them in reverse. app-sessions.ts creates the
// parts for the sessions, app-http.ts the parts that serve HTTP.
import { join } from 'node:path';
import type { AgentChannel, AgentHost } from './agent/agent.ts';
import { createAgentHost } from './agent/host.ts';
import { type AgentProfile, resolveAgent } from './agent/profiles.ts';
import { createDaemonListener } from './app-http.ts';
import { createSessionBase, createSessionParts, type SessionParts } from './app-sessions.ts';
import { Checkouts } from './checkouts/checkouts.ts';
import type { DaemonConfig } from './config.ts';
import { ApiDocument } from './contract/api-document.ts';
import { workspaceIdOf } from './contract/canonical-path.ts';
import { type Clock, systemClock, type Timer } from './contract/clock.ts';
import type { Log } from './contract/log.ts';
import { readProcStat } from './contract/proc.ts';
import { OrphanWatch } from './feed/orphan-watch.ts';
import { FeedPublisher } from './feed/publisher.ts';
import { FeedReports } from './feed/reports.ts';
import type { History } from './history/history.ts';
import { createHistoryStore } from './history/store.ts';
import { TranscriptOwnership } from './history/transcript-ownership.ts';
import type { DaemonListener } from './http/listen.ts';
import { Streams } from './http/streams.ts';
import { preload } from './process/preload.ts';
import { lockWorkspace, type WorkspaceLock } from './process/workspace-lock.ts';
import type { PermissionSettings } from './session/permissions.ts';

export interface DaemonFiles {
  /** Root directory of the daemon's installed package. */
  readonly packageRoot: string;
  /** Path of the built demo agent. */
  readonly demoAgent: string;
  /** Path of the API description, as JSON. */
  readonly openapi: string;
  readonly version: string;
  /** Value of the environment variable PATH, for the search of the agent's program. */
  readonly path: string | undefined;
}

/**
 * Resolves the agent that a daemon of this configuration would run; `problem` of the result says what is missing for it. Reads
 * the file system only.
 */
export function diagnoseAgent(
  { agent, workspace, stateDir }: DaemonConfig,
  files: DaemonFiles,
): AgentProfile {
  const { path, packageRoot, demoAgent } = files;
  return resolveAgent(agent, { path, workspace, packageRoot, demoAgent, demoStateDir: stateDir });
}

export class Daemon {
  readonly #config: DaemonConfig;
  readonly #log: Log;
  readonly #clock: Clock = systemClock;
  readonly #agent: AgentHost;
  readonly #feed: FeedPublisher;
  readonly #parts: SessionParts;
  readonly #orphanWatch: OrphanWatch;
  readonly #apiDocument: ApiDocument;
  readonly #streams = new Streams();
  readonly #listener: DaemonListener;
  readonly #timers: Timer[] = [];
  readonly startTime = readProcStat(process.pid)?.startTime ?? 0;
  #lock: WorkspaceLock | undefined;
  #stopping: Promise<void> | undefined;

  /** @param end is called to end the daemon's process in order, when no coordinator has read the feed for too long. */
  constructor(config: DaemonConfig, files: DaemonFiles, log: Log, end: (why: string) => void) {
    const { limits, workspace, agentEnv: env } = config;
    const { version } = files;
    const clock = this.#clock;
    this.#config = config;
    this.#log = log;
    const environment = { workspace, clock, log, limits };
    const base = createSessionBase(environment, (channel, exit) =>
      this.#parts.endings.agentExited(channel, exit),
    );
    const { register, slot, router } = base;
    const profile = () => diagnoseAgent(config, files);
    const sessionsOn = (channel: AgentChannel) => register.on(channel).length;
    const agent = createAgentHost(
      { profile, workspace, env },
      { version, limits, clock, log, sink: router, sessionsOn },
    );
    const incarnation = config.coordinated?.incarnation ?? '';
    const reports = new FeedReports({ incarnation, version, register, slot, agent, clock });
    const feed = new FeedPublisher({ clock, log, limits, reports });
    const ownership = new TranscriptOwnership(createHistory(config, clock, log), limits, log);
    const checkouts = new Checkouts({ workspace, env, sessions: register, log });
    const permissionSettings = permissionSettingsOf(config);
    const parts = createSessionParts(environment, {
      ...base,
      agent,
      feed,
      ownership,
      checkouts,
      permissionSettings,
    });
    this.#agent = agent;
    this.#feed = feed;
    this.#parts = parts;
    this.#orphanWatch = new OrphanWatch({ clock, log, limits, sessions: parts.sessions, feed, end });
    this.#apiDocument = new ApiDocument(files.openapi);
    this.#listener = createDaemonListener({
      config,
      clock,
      log,
      agent,
      feed,
      parts,
      streams: this.#streams,
      self: {
        version,
        startTime: this.startTime,
        apiDocument: this.#apiDocument,
        permissionSettings,
      },
    });
  }

  get port(): number {
    return this.#listener.port;
  }

  /** Locks the workspace, listens, and starts feed and timers. @throws WorkspaceLocked, ListenError */
  async start(): Promise<void> {
    const { workspace, coordinated, limits } = this.#config;
    const clock = this.#clock;
    this.#lock = await lockWorkspace(workspaceIdOf(workspace), {
      pid: process.pid,
      workspace,
      incarnation: coordinated?.incarnation,
    });
    await this.#listener.open();
    this.#feed.start();
    this.#timers.push(clock.every(limits.feedBeatMs, () => this.#verifySocket()));
    // Only a daemon with a coordinator can become an orphan.
    if (coordinated !== undefined)
      this.#timers.push(clock.every(limits.feedBeatMs, () => this.#orphanWatch.look()));
    if (limits.sessionReapIntervalMs > 0)
      this.#timers.push(clock.every(limits.sessionReapIntervalMs, () => this.#parts.autoClose.closeIdle()));
    this.#timers.push(clock.after(limits.preloadAfterMs, () => preload(this.#apiDocument, this.#log)));
    const { problem } = this.#agent.diagnose();
    if (problem !== undefined) this.#log.warn({ agent: this.#config.agent }, problem);
  }

  /** Ends sessions, agent, streams and listener, in this order, within `shutdownGraceMs`. Idempotent. */
  stop(): Promise<void> {
    this.#stopping ??= this.#stop();
    return this.#stopping;
  }

  /** Kills the agent's process tree at once. Synchronous. */
  killNow(): void {
    this.#agent.killNow();
  }

  async #stop(): Promise<void> {
    for (const timer of this.#timers) timer.cancel();
    this.#listener.closeListeners();
    const cut = this.#clock.after(this.#config.limits.shutdownGraceMs, () =>
      this.#listener.closeConnections(true),
    );
    this.#parts.sessions.stop();
    await this.#agent.stop();
    this.#feed.stop();
    // Event streams end by themselves once their last frame is written; the timer `cut` bounds the wait.
    await this.#streams.allEnded();
    this.#listener.closeConnections(true);
    cut.cancel();
    this.#lock?.unlock();
  }

  #verifySocket(): void {
    this.#listener.verify().then(
      (wasMissing) => {
        if (wasMissing) this.#log.warn('the socket file was missing: listening again');
      },
      (error: unknown) => this.#log.error({ err: error }, 'cannot listen again'),
    );
  }
}

function createHistory({ stateDir, limits }: DaemonConfig, clock: Clock, log: Log): History {
  const dir = join(stateDir, 'sessions');
  return createHistoryStore({ dir, clock, log, maxBytesPerSession: limits.recordingMaxBytes });
}

function permissionSettingsOf(config: DaemonConfig): PermissionSettings {
  const { permissionPolicy: policy, consensusQuorum, coordinated, workspace } = config;
  const requestIdPrefix = coordinated === undefined ? '' : `${workspaceIdOf(workspace)}.`;
  return { policy, consensusQuorum, requestIdPrefix };
}
