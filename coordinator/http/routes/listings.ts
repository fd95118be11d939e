// The routes that answer about sessions from the store, for workspaces whose daemon does not run.
import type Router from '@koa/router';
import { fail } from '../../../daemon/contract/errors.ts';
import type { SessionPage } from '../../../daemon/contract/session-page.ts';
import { sessionKey } from '../../../daemon/contract/wire.ts';
import type { SessionRow } from '../../store/store.ts';
import type { WorkspaceKey } from '../../supervise/fleet.ts';
import { type OwnRequests, queryOf } from '../own-requests.ts';
import { type BatchDeps, readCatalogs } from '../session-batches.ts';
import { sessionListing, sessionView, stoppedLiveState } from '../views.ts';
import { type SelectionDeps, workspaceOf } from '../workspace-selection.ts';

/** The reads of `Store.sessions` that these routes use. */
export interface SessionRows {
  get(sessionId: string): SessionRow | undefined;
  /** The workspace's sessions that a listing shows, newest first. */
  listed(workspaceId: string): readonly SessionRow[];
  clients(sessionId: string): readonly unknown[];
}

export interface ListingDeps {
  readonly requests: OwnRequests;
  readonly selection: SelectionDeps;
  readonly batches: BatchDeps;
  readonly rows: SessionRows;
}

export function addListings(router: Router, deps: ListingDeps): void {
  const { requests, selection, batches, rows } = deps;
  router.get(['/workspace/:workspace/sessions', '/workspaces/:workspace/sessions'], (ctx) => {
    const workspace = workspaceOf(selection, requests.contextOf(ctx).route);
    ctx.body = storedListing(rows, workspace, queryOf(ctx));
  });
  router.post('/sessions/catalog', async (ctx) => {
    const body = await requests.bodyOf(ctx);
    ctx.body = await readCatalogs(batches, { context: requests.contextOf(ctx), body }, (workspace, query) =>
      storedListing(rows, workspace, query),
    );
  });
  router.get('/workspaces/:workspace/sessions/live-state', (ctx) => {
    const { id } = workspaceOf(selection, requests.contextOf(ctx).route);
    ctx.set('Cache-Control', 'no-store');
    ctx.body = stoppedLiveState(id);
  });
  router.get('/session/:id/status', (ctx) => {
    const workspace = workspaceOf(selection, requests.contextOf(ctx).route);
    ctx.body = storedStatus(rows, workspace, ctx.params.id ?? '');
  });
}

/** One page of a workspace's session listing, from the store. */
function storedListing(rows: SessionRows, workspace: WorkspaceKey, query: URLSearchParams): SessionPage {
  return sessionListing(query, {
    cwd: workspace.path,
    rows: rows.listed(workspace.id),
    clientCount: (sessionId) => rows.clients(sessionId).length,
  });
}

/** The status of a session that no daemon has, from its row in the store. @throws ApiError 404 when there is no such row. */
function storedStatus(rows: SessionRows, workspace: WorkspaceKey, sessionId: string): object {
  const row = rows.get(sessionKey(sessionId));
  if (row === undefined) throw fail('session_not_found', 'No such session', { sessionId });
  const clients = rows.clients(row.sessionId).length;
  return { ...sessionView(row, workspace.path, clients), dormant: row.state === 'dormant' };
}
