// Makes the answers to GET /admin/status and GET /admin/diagnostics: the whole coordinator in one object, without secrets, with
// warnings as sentences. Pure.
import type { StoreFacts } from '../../store/store.ts';
import type { DaemonView } from '../../supervise/fleet.ts';
import type { WorkspaceEntry } from '../../supervise/workspaces/registry.ts';
import { fleetFigures } from '../aggregate.ts';

/** Facts about the coordinator's process. */
export interface ProcessFacts {
  readonly version: string;
  readonly pid: number;
  readonly uptimeMs: number;
}

export interface WorkspaceFacts {
  readonly entries: readonly WorkspaceEntry[];
  readonly views: readonly DaemonView[];
  /** Number of the workspace's live sessions; null when the store cannot be read. */
  readonly liveSessions: (workspaceId: string) => number | null;
  /** How the workspace's last daemon ended; used for a workspace whose daemon has not run under this coordinator. */
  readonly lastExitOf: (workspaceId: string) => DaemonView['lastExit'];
  /** A daemon whose last beat is older than this is worth a warning. */
  readonly beatStaleMs: number;
}

export interface AdminFacts {
  readonly self: ProcessFacts;
  /** The configuration in effect, secrets included. */
  readonly config: Readonly<Record<string, unknown>>;
  readonly workspaces: WorkspaceFacts;
  readonly store: StoreFacts;
  /** Epoch milliseconds. */
  readonly nowMs: number;
}

/** The answer to `GET /admin/diagnostics`. */
export function diagnosticsView(facts: AdminFacts): object {
  const { self, config, workspaces, store, nowMs } = facts;
  return {
    ...self,
    generatedAt: new Date(nowMs).toISOString(),
    config: redacted(config),
    fleet: fleetFigures(workspaces.views, nowMs),
    workspaces: workspaces.entries.map((entry) => workspaceDiagnosis(workspaces, entry, nowMs)),
    store,
    warnings: warnings(facts),
  };
}

/** The answer to `GET /admin/status`. */
export function statusView(facts: AdminFacts): object {
  const { self, workspaces } = facts;
  return {
    status: warnings(facts).length === 0 ? 'ok' : 'warning',
    ...self,
    workspaces: workspaces.entries.map((entry) => ({
      id: entry.id,
      cwd: entry.path,
      state: viewOf(workspaces, entry.id)?.state ?? 'stopped',
      sessions: workspaces.liveSessions(entry.id),
    })),
  };
}

function viewOf({ views }: WorkspaceFacts, workspaceId: string): DaemonView | undefined {
  return views.find((view) => view.workspace.id === workspaceId);
}

function workspaceDiagnosis(facts: WorkspaceFacts, entry: WorkspaceEntry, nowMs: number): object {
  const view = viewOf(facts, entry.id);
  const beat = view?.lastBeat ?? null;
  return {
    id: entry.id,
    cwd: entry.path,
    displayName: entry.displayName ?? null,
    primary: entry.isPrimary,
    state: view?.state ?? 'stopped',
    incarnation: view?.incarnation ?? null,
    pid: view?.pid ?? null,
    version: view?.version ?? null,
    agent: view?.agent ?? null,
    memory: beat && { daemonBytes: beat.rssBytes, agentBytes: beat.agentRssBytes },
    sessions: facts.liveSessions(entry.id),
    waiters: view?.waiters ?? 0,
    isFeedUp: view?.isFeedUp ?? false,
    lastBeat: beat && { ...beat, ageMs: nowMs - beat.atMs },
    starts: view?.starts ?? 0,
    restarts: Math.max(0, (view?.starts ?? 0) - 1),
    lastExit: view === undefined ? facts.lastExitOf(entry.id) : view.lastExit,
  };
}

/** Size of the write-ahead log that is worth a warning: a log that keeps growing means that no checkpoint gets through. */
const LARGE_WAL_BYTES = 64 * 1024 * 1024;

function warnings({ workspaces, store, nowMs }: AdminFacts): string[] {
  const { views, beatStaleMs } = workspaces;
  const found = [
    ...store.warnings,
    ...views.flatMap((view) => [...stateWarnings(view), ...feedWarnings(view, beatStaleMs, nowMs)]),
  ];
  if (store.walBytes > LARGE_WAL_BYTES)
    found.push(`The database's write-ahead log has grown to ${store.walBytes} bytes.`);
  return found;
}

function stateWarnings(view: DaemonView): string[] {
  const name = view.workspace.path;
  const found: string[] = [];
  if (view.state === 'failed')
    found.push(`The daemon of ${name} keeps failing and is not restarted${because(view)}.`);
  if (view.state === 'held')
    found.push(
      `${name} is held, and nothing is started for it: ${processOf(view)} cannot be verified (${view.heldWhy}). End it, or wait.`,
    );
  if (view.state === 'backoff')
    found.push(`The daemon of ${name} died and is waiting to be restarted${because(view)}.`);
  return found;
}

function feedWarnings(view: DaemonView, beatStaleMs: number, nowMs: number): string[] {
  if (view.state !== 'ready') return [];
  const name = view.workspace.path;
  const found: string[] = [];
  if (!view.isFeedUp) found.push(`The daemon of ${name} is ready, but its feed is down.`);
  const ageMs = view.lastBeat === null ? undefined : nowMs - view.lastBeat.atMs;
  if (ageMs !== undefined && ageMs > beatStaleMs)
    found.push(`The daemon of ${name} last sent a beat ${Math.round(ageMs / 1000)} s ago.`);
  return found;
}

function processOf({ pid }: DaemonView): string {
  return pid === null ? 'an earlier daemon whose pid is not known' : `process ${pid}`;
}

function because(view: DaemonView): string {
  return view.lastExit === null ? '' : `: ${view.lastExit.reason}`;
}

const SECRET_NAME = /token|secret|password|authorization|credential|api_?key/i;

/**
 * A copy in which every value under a secret's name is replaced, at any depth. An empty value stays, to show that it is not set.
 */
export function redacted(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(redacted);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value).map(([name, inner]) => {
      const isSet = inner !== undefined && inner !== null && inner !== '';
      return [name, SECRET_NAME.test(name) && isSet ? '[redacted]' : redacted(inner)];
    }),
  );
}
