// The coordinator's own route table. Handlers only translate between HTTP and the functions that know.
import type { IncomingMessage, OutgoingHttpHeaders } from 'node:http';
import Router from '@koa/router';
import type { Context } from 'koa';
import { API_DOCUMENT_PATH, type ApiDocument } from '../../daemon/contract/api-document.ts';
import type { Clock } from '../../daemon/contract/clock.ts';
import { fail } from '../../daemon/contract/errors.ts';
import { readJsonBody } from '../../daemon/contract/json-body.ts';
import type { SessionPage } from '../../daemon/contract/session-page.ts';
import { CLIENT_ID_HEADER, sessionKey } from '../../daemon/contract/wire.ts';
import type { SessionRow } from '../store/store.ts';
import type { Fleet, WorkspaceKey } from '../supervise/fleet.ts';
import type { DaemonAnswer } from '../upstream/daemon-client.ts';
import { workspaceOf } from './destination.ts';
import type { ListenerPolicy } from './guard.ts';
import { requireTrusted } from './guard.ts';
import { downstreamHeaders } from './headers.ts';
import type { RequestContext, RequestContexts } from './request-context.ts';
import { batchSessions, readCatalogs } from './session-batches.ts';
import { createSessionForClient, loadSessionForClient, type SessionDeps } from './sessions.ts';
import {
  type CapabilityFacts,
  deepHealth,
  fleetCapabilities,
  isDeep,
  sessionListing,
  sessionView,
  stoppedLiveState,
} from './views.ts';
import { addWorkspace, removeWorkspace } from './workspaces.ts';

/** What the listing needs of `Store.sessions`. */
export interface SessionRows {
  get(sessionId: string): SessionRow | undefined;
  /** What a listing shows while no daemon can be asked, newest first. */
  listed(workspaceId: string): readonly SessionRow[];
  countLive(workspaceId?: string): number;
  clients(sessionId: string): readonly unknown[];
}

export interface RouteDeps {
  readonly contexts: RequestContexts;
  readonly policy: () => ListenerPolicy;
  readonly sessions: SessionDeps;
  readonly rows: SessionRows;
  readonly fleet: Pick<Fleet, 'views' | 'view' | 'stop' | 'forget'>;
  readonly facts: CapabilityFacts;
  readonly apiDocument: Pick<ApiDocument, 'bytes'>;
  readonly clock: Clock;
  readonly maxBodyBytes: number;
}

export function createRoutes(deps: RouteDeps): Router {
  const router = new Router();
  const { book } = deps.sessions.destination;
  router.get('/health', (ctx) => {
    ctx.body = isDeep(queryOf(ctx).get('deep'))
      ? deepHealth(deps.fleet.views(), book.list().length, deps.clock.nowMs())
      : { status: 'ok' };
  });
  router.get('/capabilities', (ctx) => {
    ctx.body = fleetCapabilities(deps.facts, book);
  });
  router.get(API_DOCUMENT_PATH, async (ctx) => {
    ctx.type = 'application/json; charset=utf-8';
    ctx.body = await deps.apiDocument.bytes();
  });
  router.post('/session', (ctx) => postSession(deps, ctx));
  router.post(['/session/:id/load', '/session/:id/resume', '/session/:id/branch'], (ctx) =>
    postSession(deps, ctx, ctx.params.id),
  );
  router.get('/session/:id/status', (ctx) => {
    ctx.body = restingStatus(deps, ctx);
  });
  router.post('/workspaces', async (ctx) => {
    requireTrusted(deps.policy(), visitOf(deps, ctx.req).peer);
    ctx.body = await addWorkspace(book, await readJsonBody(ctx.req, deps.maxBodyBytes));
    ctx.status = 201;
  });
  router.delete('/workspaces/:workspace', async (ctx) => {
    const context = visitOf(deps, ctx.req);
    requireTrusted(deps.policy(), context.peer);
    const body = await readJsonBody(ctx.req, deps.maxBodyBytes);
    const removal = { book, fleet: deps.fleet, countLive: (id: string) => deps.rows.countLive(id) };
    ctx.body = await removeWorkspace(removal, workspaceOf(deps.sessions.destination, context.route), body);
  });
  router.get(['/workspace/:workspace/sessions', '/workspaces/:workspace/sessions'], (ctx) => {
    const workspace = workspaceOf(deps.sessions.destination, visitOf(deps, ctx.req).route);
    ctx.body = storedListing(deps, workspace, queryOf(ctx));
  });
  router.post(['/sessions/archive', '/sessions/unarchive', '/sessions/delete'], (ctx) =>
    postBatch(deps, ctx),
  );
  router.post('/sessions/catalog', async (ctx) => {
    const body = await readJsonBody(ctx.req, deps.maxBodyBytes);
    ctx.body = await readCatalogs(deps.sessions, visitOf(deps, ctx.req), body, (workspace, query) =>
      storedListing(deps, workspace, query),
    );
  });
  router.get('/workspaces/:workspace/sessions/live-state', (ctx) => {
    const { id } = workspaceOf(deps.sessions.destination, visitOf(deps, ctx.req).route);
    ctx.set('Cache-Control', 'no-store');
    ctx.body = stoppedLiveState(id);
  });
  return router;
}

/** Creates a session, or makes `sessionId` live. */
async function postSession(deps: RouteDeps, ctx: Context, sessionId?: string): Promise<void> {
  const body = await readJsonBody(ctx.req, deps.maxBodyBytes);
  const headers = clientHeadersOf(ctx);
  const context = visitOf(deps, ctx.req);
  relayAnswer(
    ctx,
    sessionId === undefined
      ? await createSessionForClient(deps.sessions, context, body, headers)
      : await loadSessionForClient(deps.sessions, context, sessionId, body, headers),
  );
}

/** Archives, brings back or deletes sessions, wherever they belong. */
async function postBatch(deps: RouteDeps, ctx: Context): Promise<void> {
  const body = await readJsonBody(ctx.req, deps.maxBodyBytes);
  const answer = await batchSessions(deps.sessions, visitOf(deps, ctx.req), body, clientHeadersOf(ctx));
  if ('merged' in answer) ctx.body = answer.merged;
  else relayAnswer(ctx, answer);
}

function clientHeadersOf(ctx: Context): OutgoingHttpHeaders {
  const clientId = ctx.req.headers[CLIENT_ID_HEADER];
  return clientId === undefined ? {} : { [CLIENT_ID_HEADER]: clientId };
}

function relayAnswer(ctx: Context, answer: DaemonAnswer): void {
  ctx.status = answer.status;
  for (const [name, values] of downstreamHeaders(answer)) if (!ctx.res.hasHeader(name)) ctx.set(name, values);
  ctx.body = answer.body;
}

/** One page of a workspace's sessions as they are stored. */
function storedListing(deps: RouteDeps, workspace: WorkspaceKey, query: URLSearchParams): SessionPage {
  return sessionListing(query, {
    cwd: workspace.path,
    rows: deps.rows.listed(workspace.id),
    clientCount: (sessionId) => deps.rows.clients(sessionId).length,
  });
}

/** A session that no daemon has, from its row. */
function restingStatus(deps: RouteDeps, ctx: Context): object {
  const context = visitOf(deps, ctx.req);
  const workspace = workspaceOf(deps.sessions.destination, context.route);
  const row = deps.rows.get(sessionKey(ctx.params.id ?? ''));
  if (row === undefined) throw fail('session_not_found', 'No such session', { sessionId: ctx.params.id });
  const clients = deps.rows.clients(row.sessionId).length;
  return { ...sessionView(row, workspace.path, clients), dormant: row.state === 'dormant' };
}

function visitOf(deps: RouteDeps, req: IncomingMessage): RequestContext {
  const context = deps.contexts.get(req);
  if (context === undefined) throw new Error('a request reached the router without a visit');
  return context;
}

function queryOf(ctx: Context): URLSearchParams {
  return new URLSearchParams(ctx.querystring);
}
