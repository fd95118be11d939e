// What an operator reads: the whole coordinator in one answer, without secrets, with warnings as sentences. Pure.
import type { StoreFacts } from '../../store/store.ts';
import type { DaemonView } from '../../supervise/fleet.ts';
import { fleetFigures } from '../aggregate.ts';
import type { WorkspaceEntry } from '../workspace-book.ts';

export interface AdminFacts {
  readonly version: string;
  readonly pid: number;
  readonly uptimeMs: number;
  readonly nowMs: number;
  readonly config: Readonly<Record<string, unknown>>;
  readonly workspaces: readonly WorkspaceEntry[];
  readonly views: readonly DaemonView[];
  /** Null when it cannot be read. */
  readonly liveSessions: (workspaceId: string) => number | null;
  /** How the last daemon of a workspace ended, for one that has not run since this coordinator began. */
  readonly lastExitOf: (workspaceId: string) => DaemonView['lastExit'];
  readonly store: StoreFacts;
  /** A beat older than this is worth a warning. */
  readonly beatStaleMs: number;
}

export function diagnosticsView(facts: AdminFacts): object {
  return {
    version: facts.version,
    pid: facts.pid,
    uptimeMs: facts.uptimeMs,
    generatedAt: new Date(facts.nowMs).toISOString(),
    config: redacted(facts.config),
    fleet: fleetFigures(facts.views, facts.nowMs),
    workspaces: facts.workspaces.map((entry) => workspaceDiagnosis(facts, entry)),
    store: facts.store,
    warnings: warnings(facts),
  };
}

export function statusView(facts: AdminFacts): object {
  return {
    status: warnings(facts).length === 0 ? 'ok' : 'warning',
    version: facts.version,
    pid: facts.pid,
    uptimeMs: facts.uptimeMs,
    workspaces: facts.workspaces.map((entry) => ({
      id: entry.id,
      cwd: entry.path,
      state: viewOf(facts, entry.id)?.state ?? 'stopped',
      sessions: facts.liveSessions(entry.id),
    })),
  };
}

function viewOf(facts: AdminFacts, workspaceId: string): DaemonView | undefined {
  return facts.views.find((view) => view.workspace.id === workspaceId);
}

function workspaceDiagnosis(facts: AdminFacts, entry: WorkspaceEntry): object {
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
    lastBeat: beat && { ...beat, ageMs: facts.nowMs - beat.atMs },
    starts: view?.starts ?? 0,
    restarts: Math.max(0, (view?.starts ?? 0) - 1),
    lastExit: view === undefined ? facts.lastExitOf(entry.id) : view.lastExit,
  };
}

/** A WAL that keeps growing means that no checkpoint gets through. */
const LARGE_WAL_BYTES = 64 * 1024 * 1024;

function warnings(facts: AdminFacts): string[] {
  const found = [...facts.store.warnings, ...facts.views.flatMap((view) => daemonWarnings(facts, view))];
  if (facts.store.walBytes > LARGE_WAL_BYTES)
    found.push(`The database's write-ahead log has grown to ${facts.store.walBytes} bytes.`);
  return found;
}

function daemonWarnings(facts: AdminFacts, view: DaemonView): string[] {
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
  if (view.state !== 'ready') return found;
  if (!view.isFeedUp) found.push(`The daemon of ${name} is ready, but its feed is down.`);
  const ageMs = view.lastBeat === null ? undefined : facts.nowMs - view.lastBeat.atMs;
  if (ageMs !== undefined && ageMs > facts.beatStaleMs)
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

/** A copy with every value under a secret's name replaced, however deep. Whether one is set can still be seen. */
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
