// The operator's routes, the same under /admin on the listener and on the admin socket.
import Router from '@koa/router';
import type { Clock } from '../../../daemon/contract/clock.ts';
import type { Store } from '../../store/store.ts';
import type { Fleet } from '../../supervise/fleet.ts';
import { lastExitOf } from '../../supervise/records/last-exit.ts';
import type { WorkspaceBook } from '../workspace-book.ts';
import { type AdminFacts, diagnosticsView, statusView } from './views.ts';

export interface AdminDeps {
  readonly version: string;
  /** The configuration in effect; secrets are redacted by their names. */
  readonly config: Readonly<Record<string, unknown>>;
  readonly book: Pick<WorkspaceBook, 'list'>;
  readonly fleet: Pick<Fleet, 'views'>;
  readonly store: {
    readonly sessions: Pick<Store['sessions'], 'countLive'>;
    readonly events: Pick<Store['events'], 'story'>;
    facts: Store['facts'];
  };
  readonly clock: Clock;
  readonly beatStaleMs: number;
}

export function createAdminRouter(deps: AdminDeps): Router {
  const startedAtMs = deps.clock.monotonicMs();
  const facts = (): AdminFacts => ({
    version: deps.version,
    pid: process.pid,
    uptimeMs: Math.round(deps.clock.monotonicMs() - startedAtMs),
    nowMs: deps.clock.nowMs(),
    config: deps.config,
    workspaces: deps.book.list(),
    views: deps.fleet.views(),
    liveSessions: (workspaceId) => known(() => deps.store.sessions.countLive(workspaceId)),
    lastExitOf: (workspaceId) => lastExitOf(deps.store, workspaceId),
    store: deps.store.facts(),
    beatStaleMs: deps.beatStaleMs,
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

/** Diagnostics are asked for when something is wrong: a damaged table must not take the rest with it. */
function known(read: () => number): number | null {
  try {
    return read();
  } catch {
    // The store's own warnings say why.
    return null;
  }
}
