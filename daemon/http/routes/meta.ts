// Handlers for the daemon itself: its health and its capabilities.
import type { DaemonConfig } from '../../config.ts';
import { workspaceIdOf } from '../../contract/canonical-path.ts';
import { CORE_FEATURES, MAX_REGISTERED_WORKSPACES, PROTOCOL_VERSIONS } from '../../contract/capabilities.ts';
import { type Handler, ok } from '../call.ts';
import type { RouteContext } from '../route-context.ts';

type HealthNeeds = Pick<RouteContext, 'sessions' | 'clock' | 'activity' | 'rateGate'>;

/** `GET /health`: status `ok`, and with the query parameter `deep` also figures of the daemon's sessions, clients and agent. */
export function health({ sessions, clock, activity, rateGate }: HealthNeeds): Handler {
  return ({ query }) => {
    const deep = query.get('deep');
    if (deep === null || !['1', 'true', ''].includes(deep)) return ok({ status: 'ok' });
    const all = sessions.all();
    const sum = (count: (session: (typeof all)[number]) => number) =>
      all.reduce((total, session) => total + count(session), 0);
    const activeWork = all.some(({ turns }) => !turns.isIdle);
    const lastActivityAtMs = activity.lastAtMs();
    return ok({
      status: 'ok',
      workspaceCount: 1,
      sessions: all.length,
      pendingPermissions: sum((session) => session.permissions.openCount),
      activePrompts: sum((session) => (session.turns.running === undefined ? 0 : 1)),
      activeWork,
      activeWorkReporting: 'none',
      activeWorkStaleMs: 0,
      connectedClients: sum((session) => session.bus.readerCount),
      channelAlive: activity.isAgentAlive(),
      lastActivityAt: lastActivityAtMs === null ? null : new Date(lastActivityAtMs).toISOString(),
      idleSinceMs:
        activeWork || lastActivityAtMs === null ? null : Math.max(0, clock.nowMs() - lastActivityAtMs),
      ...(rateGate === undefined ? {} : { rateLimitHits: rateGate.hits }),
    });
  };
}

/** `GET /capabilities`: the protocol versions, features and limits that clients adapt to. */
export function daemonCapabilities({ capabilities }: Pick<RouteContext, 'capabilities'>): Handler {
  const { workspace, version, limits, permissionPolicy, features } = capabilities;
  return () =>
    ok({
      v: 1,
      protocolVersions: PROTOCOL_VERSIONS,
      qwenCodeVersion: version,
      mode: 'http-bridge',
      features: [...CORE_FEATURES, ...features],
      modelServices: [],
      workspaceCwd: workspace,
      transports: ['rest'],
      policy: { permission: permissionPolicy },
      limits: {
        maxRegisteredWorkspaces: MAX_REGISTERED_WORKSPACES,
        maxPendingPromptsPerSession: limits.maxPendingPromptsPerSession || null,
        sessionRestoreTimeoutMs: limits.sessionRestoreTimeoutMs,
        // Both fields are absent without `maxTotalSessions`, because a daemon has only one workspace to cap.
        ...(limits.maxTotalSessions > 0 && {
          maxSessionsPerWorkspace: limits.maxSessions || null,
          maxTotalSessions: limits.maxTotalSessions,
        }),
      },
      workspaces: [
        {
          id: workspaceIdOf(workspace),
          cwd: workspace,
          primary: true,
          trusted: true,
          workflowsEnabled: false,
        },
      ],
      sessionLiveStatePollIntervalMs: 5000,
      supportedLanguages: [],
    });
}

/** The capability tags that this configuration adds to CORE_FEATURES. */
export function conditionalFeatures(config: DaemonConfig): readonly string[] {
  const { requireAuth, coordinated, allowedOrigins, isRateLimited, limits } = config;
  return [
    ...(requireAuth && coordinated === undefined ? ['require_auth'] : []),
    ...(allowedOrigins.length > 0 ? ['allow_origin'] : []),
    ...(isRateLimited ? ['rate_limit'] : []),
    ...(limits.promptDeadlineMs > 0 ? ['prompt_absolute_deadline'] : []),
    ...(limits.writerIdleTimeoutMs > 0 ? ['writer_idle_timeout'] : []),
  ];
}
