// Makes the JSON answers of the coordinator's own routes: health, capabilities, and sessions as the store has them. Pure.
import {
  CORE_FEATURES,
  MAX_REGISTERED_WORKSPACES,
  PROTOCOL_VERSIONS,
} from '../../daemon/contract/capabilities.ts';
import type { Limits } from '../../daemon/contract/limits.ts';
import { listPage, type SessionPage } from '../../daemon/contract/session-page.ts';
import type { PermissionPolicy } from '../../daemon/contract/wire.ts';
import type { SessionRow } from '../store/store.ts';
import type { DaemonView } from '../supervise/fleet.ts';
import type { WorkspaceEntry } from '../supervise/workspaces/registry.ts';
import { fleetFigures } from './aggregate.ts';
import type { WorkspaceLookup } from './workspace-selection.ts';

/** Whether `value`, of the query parameter `deep`, asks for the deep form of `GET /health`. */
export function isDeep(value: string | null): boolean {
  return value === '' || value === '1' || value === 'true';
}

export function deepHealth(views: readonly DaemonView[], workspaceCount: number, nowMs: number): object {
  return { status: 'ok', workspaceCount, ...fleetFigures(views, nowMs) };
}

/** The facts from which the coordinator computes its answer to `GET /capabilities`, besides the registered workspaces. */
export interface CapabilityFacts {
  readonly version: string;
  readonly limits: Limits;
  readonly permissionPolicy: PermissionPolicy;
  /** Cap on live sessions over all workspaces; 0 = unlimited. */
  readonly maxTotalSessions: number;
  readonly isAuthRequired: boolean;
  readonly isRateLimited: boolean;
  readonly hasAllowedOrigins: boolean;
}

/** The answer to `GET /capabilities`, which shows the fleet as one server of several workspaces. */
export function fleetCapabilities(
  facts: CapabilityFacts,
  registry: Pick<WorkspaceLookup, 'list' | 'primary'>,
): object {
  const entries = registry.list();
  return {
    v: 1,
    protocolVersions: PROTOCOL_VERSIONS,
    qwenCodeVersion: facts.version,
    mode: 'http-bridge',
    features: features(facts, entries.length),
    modelServices: [],
    ...(registry.primary() && { workspaceCwd: registry.primary()?.path }),
    transports: ['rest'],
    policy: { permission: facts.permissionPolicy },
    limits: publishedLimits(facts, entries.length),
    workspaces: entries.map(workspaceView),
    sessionLiveStatePollIntervalMs: 5000,
    supportedLanguages: [],
  };
}

function features(facts: CapabilityFacts, workspaces: number): string[] {
  const conditional: readonly (readonly [string, boolean])[] = [
    ['require_auth', facts.isAuthRequired],
    ['allow_origin', facts.hasAllowedOrigins],
    ['prompt_absolute_deadline', facts.limits.promptDeadlineMs > 0],
    ['writer_idle_timeout', facts.limits.writerIdleTimeoutMs > 0],
    ['rate_limit', facts.isRateLimited],
    ['dynamic_workspace_registration', true],
    ['multi_workspace_sessions', workspaces > 1],
  ];
  return [...CORE_FEATURES, ...conditional.filter(([, holds]) => holds).map(([tag]) => tag)];
}

function publishedLimits({ limits, maxTotalSessions }: CapabilityFacts, workspaces: number): object {
  return {
    maxRegisteredWorkspaces: MAX_REGISTERED_WORKSPACES,
    maxPendingPromptsPerSession: orUnlimited(limits.maxPendingPromptsPerSession),
    sessionRestoreTimeoutMs: limits.sessionRestoreTimeoutMs,
    ...((workspaces > 1 || maxTotalSessions > 0) && {
      maxSessionsPerWorkspace: orUnlimited(limits.maxSessions),
      maxTotalSessions: orUnlimited(maxTotalSessions),
    }),
  };
}

function orUnlimited(limit: number): number | null {
  return limit === 0 ? null : limit;
}

function workspaceView(entry: WorkspaceEntry): object {
  return {
    id: entry.id,
    cwd: entry.path,
    ...(entry.displayName !== undefined && { displayName: entry.displayName }),
    primary: entry.isPrimary,
    trusted: true,
    workflowsEnabled: false,
    removable: !(entry.isPrimary || entry.isStatic),
  };
}

/** The protocol's summary of a stored session, without the fields that only a running daemon knows. */
export function sessionView(
  row: SessionRow,
  cwd: string,
  clientCount: number,
): Readonly<Record<string, unknown>> {
  return {
    sessionId: row.sessionId,
    workspaceCwd: cwd,
    createdAt: new Date(row.createdAtMs).toISOString(),
    updatedAt: new Date(row.lastSeenAtMs).toISOString(),
    ...(row.displayName !== null && { displayName: row.displayName }),
    ...(row.sourceType !== null && { sourceType: row.sourceType }),
    ...(row.sourceId !== null && { sourceId: row.sourceId }),
    clientCount,
    hasActivePrompt: false,
    isArchived: row.shelf === 'archived' && row.state === 'closed',
  };
}

/** The stored sessions of one workspace, from which a page of its session listing is made. */
export interface ListingSource {
  readonly cwd: string;
  /** Newest first. */
  readonly rows: readonly SessionRow[];
  readonly clientCount: (sessionId: string) => number;
}

/**
 * One page of stored sessions, newest first.
 * @throws ApiError 400 for a bad query, as `listPage`.
 */
export function sessionListing(query: URLSearchParams, source: ListingSource): SessionPage {
  const items = source.rows.map((row) => ({
    createdAtMs: row.createdAtMs,
    summary: sessionView(row, source.cwd, source.clientCount(row.sessionId)),
  }));
  return listPage(items, query);
}

/** The answer to `GET .../sessions/live-state` while no daemon runs. Its `catalogVersion` differs from that of every daemon. */
export function stoppedLiveState(workspaceId: string): object {
  return { v: 1, catalogVersion: { generation: `stopped-${workspaceId}`, revision: 0 }, sessions: [] };
}
