// The routes that make sessions live, and the routes that archive, unarchive or delete several sessions at once. Daemons do the
// work; their answers are relayed or merged.
import type Router from '@koa/router';
import type { Context } from 'koa';
import type { DaemonAnswer } from '../../upstream/daemon-client.ts';
import { downstreamHeaders } from '../headers.ts';
import type { OwnRequests } from '../own-requests.ts';
import { type BatchDeps, batchSessions } from '../session-batches.ts';
import { createSessionForClient, loadSessionForClient, type SessionDeps } from '../sessions.ts';

export interface SessionRouteDeps {
  readonly requests: OwnRequests;
  readonly sessions: SessionDeps;
  readonly batches: BatchDeps;
}

export function addSessions(router: Router, { requests, sessions, batches }: SessionRouteDeps): void {
  router.post('/session', async (ctx) => {
    relayAnswer(ctx, await createSessionForClient(sessions, await requests.callOf(ctx)));
  });
  router.post(['/session/:id/load', '/session/:id/resume', '/session/:id/branch'], async (ctx) => {
    const call = await requests.callOf(ctx);
    relayAnswer(ctx, await loadSessionForClient(sessions, ctx.params.id ?? '', call));
  });
  router.post(['/sessions/archive', '/sessions/unarchive', '/sessions/delete'], async (ctx) => {
    const answer = await batchSessions(batches, await requests.callOf(ctx));
    if ('merged' in answer) ctx.body = answer.merged;
    else relayAnswer(ctx, answer);
  });
}

function relayAnswer(ctx: Context, answer: DaemonAnswer): void {
  ctx.status = answer.status;
  for (const [name, values] of downstreamHeaders(answer)) if (!ctx.res.hasHeader(name)) ctx.set(name, values);
  ctx.body = answer.body;
}
