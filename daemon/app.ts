// Composition root of the daemon: makes the parts, starts them in order, stops them in reverse.
import { join } from 'node:path';
import type { AgentHost } from './agent/agent.ts';
import { createAgentHost } from './agent/host.ts';
import { type AgentProfile, resolveAgent } from './agent/profiles.ts';
import { AgentSessions } from './catalog/agent-sessions.ts';
import { Catalog } from './catalog/catalog.ts';
import { CatalogChanges } from './catalog/changes.ts';
import { CatalogItems } from './catalog/items.ts';
import { Transcripts } from './catalog/transcripts.ts';
import { Checkouts } from './checkouts/checkouts.ts';
import type { DaemonConfig } from './config.ts';
import { ApiDocument } from './contract/api-document.ts';
import { workspaceIdOf } from './contract/canonical-path.ts';
import { type Clock, systemClock, type Timer } from './contract/clock.ts';
import type { FeedBody } from './contract/feed.ts';
import type { Log } from './contract/log.ts';
import { readProcStat } from './contract/proc.ts';
import { OrphanWatch } from './feed/orphan-watch.ts';
import { FeedPublisher } from './feed/publisher.ts';
import { FeedReports } from './feed/reports.ts';
import { createHistoryStore } from './history/store.ts';
import { TranscriptOwnership } from './history/transcript-ownership.ts';
import { guardPolicy } from './http/guard.ts';
import { DaemonListener } from './http/listen.ts';
import { RateGate } from './http/rate-gate.ts';
import type { RouteContext } from './http/route-context.ts';
import { conditionalFeatures } from './http/routes/meta.ts';
import { boundRoutes, CLIENT_ROUTES, CONTROL_ROUTES } from './http/routes.ts';
import { createDaemonServer } from './http/server.ts';
import { Streams } from './http/streams.ts';
import { preload } from './process/preload.ts';
import { lockWorkspace, type WorkspaceLock } from './process/workspace-lock.ts';
import { Restores } from './restore/restores.ts';
import type { PermissionSettings } from './session/permissions.ts';
import { AgentEventRouter } from './sessions/agent-event-router.ts';
import { LiveSessions } from './sessions/live-sessions.ts';

export interface DaemonFiles {
  /** Directory of the installed package. */
  readonly packageRoot: string;
  readonly demoAgent: string;
  /** The API description, as JSON. */
  readonly openapi: string;
  readonly version: string;
  /** PATH of the environment. */
  readonly path: string | undefined;
}

/** Which agent a daemon of this configuration would run, or what to do about it. Reads the file system only. */
export function diagnoseAgent(
  { agent, workspace, stateDir }: DaemonConfig,
  files: DaemonFiles,
): AgentProfile {
  const { path, packageRoot, demoAgent } = files;
  return resolveAgent(agent, { path, workspace, packageRoot, demoAgent, demoStateDir: stateDir });
}

export class Daemon {
  readonly #config: DaemonConfig;
  readonly #files: DaemonFiles;
  readonly #log: Log;
  readonly #clock: Clock = systemClock;
  readonly #sessions: LiveSessions;
  readonly #sink: AgentEventRouter;
  readonly #ownership: TranscriptOwnership;
  readonly #restores: Restores;
  readonly #agent: AgentHost;
  readonly #feed: FeedPublisher;
  readonly #feedFacts: FeedReports;
  readonly #orphanWatch: OrphanWatch;
  readonly #apiDocument: ApiDocument;
  readonly #listener: DaemonListener;
  readonly #streams = new Streams();
  readonly #timers: Timer[] = [];
  readonly startTime = readProcStat(process.pid)?.startTime ?? 0;
  #lock: WorkspaceLock | undefined;
  #lastActivityAtMs: number | null = null;
  #stopping: Promise<void> | undefined;

  /** @param end ends the process in order; called when no coordinator wants the daemon any more. */
  constructor(config: DaemonConfig, files: DaemonFiles, log: Log, end: (why: string) => void) {
    this.#config = config;
    this.#files = files;
    this.#log = log;
    this.#apiDocument = new ApiDocument(files.openapi);
    const { limits, workspace } = config;
    const clock = this.#clock;
    const permissionSettings = this.#permissionSettings();
    this.#feed = new FeedPublisher({
      clock,
      log,
      limits,
      snapshot: () => this.#feedFacts.snapshot(),
      beat: () => this.#feedFacts.beat(),
      onFollowed: () => this.#orphanWatch.followed(),
    });
    const dir = join(config.stateDir, 'sessions');
    const history = createHistoryStore({ dir, clock, log, maxBytesPerSession: limits.recordingMaxBytes });
    this.#ownership = new TranscriptOwnership(history, limits, log);
    this.#sessions = new LiveSessions({
      workspace,
      clock,
      log,
      limits,
      permissionSettings,
      agent: () => this.#agent,
      ownership: this.#ownership,
      checkouts: new Checkouts({ workspace, env: config.agentEnv, live: () => this.#sessions.all(), log }),
      tell: (body) => this.#tell(body),
      noteSeen: (sessionId, clientId, atMs) => {
        this.#lastActivityAtMs = atMs;
        this.#feed.seen(sessionId, clientId, atMs);
      },
      onRegistered: (session) => this.#sink.adopt(session),
    });
    this.#sink = new AgentEventRouter(this.#sessions, clock, log);
    this.#restores = new Restores({
      sessions: this.#sessions,
      history,
      clock,
      log,
      tell: (body) => this.#tell(body),
      collect: (sessionId, onUpdate) => this.#sink.collect(sessionId, onUpdate),
    });
    this.#agent = createAgentHost({
      profile: () => this.#profile(),
      workspace,
      env: config.agentEnv,
      version: files.version,
      limits,
      clock,
      log,
      sink: this.#sink,
      sessionsOn: (channel) => this.#sessions.all().filter((session) => session.channel === channel).length,
    });
    this.#feedFacts = new FeedReports({
      incarnation: config.coordinated?.incarnation ?? '',
      version: files.version,
      sessions: this.#sessions,
      agent: this.#agent,
      clock,
      lastActivityAtMs: () => this.#lastActivityAtMs,
    });
    const [sessions, feed] = [this.#sessions, this.#feed];
    this.#orphanWatch = new OrphanWatch({ clock, log, limits, sessions, feed, end });
    this.#listener = this.#makeListener(permissionSettings);
  }

  get port(): number {
    return this.#listener.port;
  }

  /** @throws WorkspaceLocked, ListenError */
  async start(): Promise<void> {
    const { workspace, coordinated, limits } = this.#config;
    this.#lock = await lockWorkspace(workspaceIdOf(workspace), {
      pid: process.pid,
      workspace,
      incarnation: coordinated?.incarnation,
    });
    await this.#listener.open();
    this.#feed.start();
    this.#timers.push(this.#clock.every(limits.feedBeatMs, () => this.#verifySocket()));
    // A stand-alone daemon has nobody to lose.
    if (coordinated !== undefined)
      this.#timers.push(this.#clock.every(limits.feedBeatMs, () => this.#orphanWatch.look()));
    if (limits.sessionReapIntervalMs > 0)
      this.#timers.push(
        this.#clock.every(limits.sessionReapIntervalMs, () => this.#sessions.autoClose.closeIdle()),
      );
    this.#timers.push(this.#clock.after(limits.preloadAfterMs, () => preload(this.#apiDocument, this.#log)));
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
    this.#sessions.stop();
    await this.#agent.stop();
    this.#feed.stop();
    // Streams end by themselves once their last frame is written; the cut above bounds the wait.
    await this.#streams.allEnded();
    this.#listener.closeConnections(true);
    cut.cancel();
    this.#lock?.unlock();
  }

  #tell(body: FeedBody): number {
    if (body.type === 'session' || body.type === 'prompt') this.#lastActivityAtMs = this.#clock.nowMs();
    return this.#feed.publish(body);
  }

  #profile(): AgentProfile {
    return diagnoseAgent(this.#config, this.#files);
  }

  #permissionSettings(): PermissionSettings {
    const { permissionPolicy: policy, consensusQuorum, coordinated, workspace } = this.#config;
    const requestIdPrefix = coordinated === undefined ? '' : `${workspaceIdOf(workspace)}.`;
    return { policy, consensusQuorum, requestIdPrefix };
  }

  #makeListener(permissionSettings: PermissionSettings): DaemonListener {
    const { listen, limits, coordinated, isRateLimited } = this.#config;
    const rateGate = isRateLimited ? new RateGate(limits, this.#clock) : undefined;
    const context = this.#routeContext(permissionSettings, rateGate);
    const rows = [...CLIENT_ROUTES, ...(coordinated === undefined ? [] : CONTROL_ROUTES)];
    const routes = boundRoutes(rows, context);
    const guard = guardPolicy(this.#config, () => this.port);
    return new DaemonListener(listen, () =>
      createDaemonServer({ routes, guard, limits, log: this.#log, rateGate }),
    );
  }

  #routeContext(permissionSettings: PermissionSettings, rateGate: RateGate | undefined): RouteContext {
    const { workspace, limits, coordinated } = this.#config;
    return {
      workspace,
      version: this.#files.version,
      limits,
      clock: this.#clock,
      log: this.#log,
      sessions: this.#sessions,
      restores: this.#restores,
      ...this.#pastServices(),
      permissionSettings,
      features: conditionalFeatures(this.#config),
      feed: this.#feed,
      apiDocument: this.#apiDocument,
      streams: this.#streams,
      rateGate,
      activity: {
        lastAtMs: () => this.#lastActivityAtMs,
        isAgentAlive: () => this.#agent.current() !== undefined,
      },
      self: {
        incarnation: coordinated?.incarnation ?? '',
        pid: process.pid,
        startTime: this.startTime,
      },
    };
  }

  #pastServices(): Pick<RouteContext, 'transcripts' | 'catalog' | 'catalogChanges'> {
    const { workspace, limits } = this.#config;
    const [sessions, ownership, clock] = [this.#sessions, this.#ownership, this.#clock];
    const { history } = ownership;
    const agentSessions = new AgentSessions({
      workspace,
      agent: () => this.#agent,
      sessions,
      history,
      clock,
      limits,
      log: this.#log,
    });
    const transcripts = new Transcripts({ workspace, sessions, ownership, agentSessions, limits });
    const items = new CatalogItems({ sessions, history, agentSessions });
    const report = (body: FeedBody) => this.#tell(body);
    return {
      transcripts,
      catalog: new Catalog({ items, clock, readIdle: (sessionId) => transcripts.readIdle(sessionId) }),
      catalogChanges: new CatalogChanges({ sessions, history, agentSessions, clock, report }),
    };
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
