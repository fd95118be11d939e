// GET /admin/status and GET /admin/diagnostics, the same on the client listener and on the admin socket.
import Router from '@koa/router';
import type { Clock } from '../../../daemon/contract/clock.ts';
import type { Store } from '../../store/store.ts';
import type { Fleet } from '../../supervise/fleet.ts';
import { lastExitOf } from '../../supervise/records/last-exit.ts';
import type { WorkspaceRegistry } from '../../supervise/workspaces/registry.ts';
import { type AdminFacts, diagnosticsView, statusView } from './views.ts';

export interface AdminDeps {
  readonly version: string;
  /** The configuration in effect, secrets included; they are redacted by their names before an answer shows them. */
  readonly config: Readonly<Record<string, unknown>>;
  readonly registry: Pick<WorkspaceRegistry, 'list'>;
  readonly fleet: Pick<Fleet, 'views'>;
  readonly store: {
    readonly sessions: Pick<Store['sessions'], 'countLive'>;
    readonly events: Pick<Store['events'], 'story'>;
    facts: Store['facts'];
  };
  readonly clock: Clock;
  /** A daemon whose last beat is older than this is worth a warning. */
  readonly beatStaleMs: number;
}

export function createAdminRouter(deps: AdminDeps): Router {
  const startedAtMs = deps.clock.monotonicMs();
  const facts = (): AdminFacts => ({
    self: {
      version: deps.version,
      pid: process.pid,
      uptimeMs: Math.round(deps.clock.monotonicMs() - startedAtMs),
    },
    config: deps.config,
    workspaces: {
      entries: deps.registry.list(),
      views: deps.fleet.views(),
      liveSessions: (workspaceId) => numberOrNull(() => deps.store.sessions.countLive(workspaceId)),
      lastExitOf: (workspaceId) => lastExitOf(deps.store, workspaceId),
      beatStaleMs: deps.beatStaleMs,
    },
    store: deps.store.facts(),
    nowMs: deps.clock.nowMs(),
  });
  const router = new Router({ prefix: '/admin' });
  router.get('/diagnostics', (ctx) => {
    ctx.set('Cache-Control', 'no-store');
    ctx.body = diagnosticsView(facts());
  });
  router.get('/status', (ctx) => {
    ctx.set('Cache-Control', 'no-store');
    ctx.body = statusView(facts());
  });
  return router;
}

/** What `read` returns; null where the store refuses, because diagnostics must not fail when one table of the database does. */
function numberOrNull(read: () => number): number | null {
  try {
    return read();
  } catch {
    // The store's own warnings, which diagnostics show, say why.
    return null;
  }
}
