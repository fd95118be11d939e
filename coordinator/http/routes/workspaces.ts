// The routes by which clients register and remove workspaces.
import type Router from '@koa/router';
import type { WorkspaceRegistry } from '../../supervise/workspaces/registry.ts';
import { type ListenerPolicy, requireTrusted } from '../guard.ts';
import type { OwnRequests } from '../own-requests.ts';
import { type SelectionDeps, workspaceOf } from '../workspace-selection.ts';
import { addWorkspace, type RemovalDeps, removeWorkspace } from '../workspaces.ts';

export interface WorkspaceRouteDeps {
  readonly requests: OwnRequests;
  /** Called for each request, because the policy includes the port, which is known only once the server listens. */
  readonly policy: () => ListenerPolicy;
  readonly registry: Pick<WorkspaceRegistry, 'add'>;
  readonly selection: SelectionDeps;
  readonly removal: RemovalDeps;
}

export function addWorkspaces(router: Router, deps: WorkspaceRouteDeps): void {
  const { requests, policy, registry, selection, removal } = deps;
  router.post('/workspaces', async (ctx) => {
    requireTrusted(policy(), requests.contextOf(ctx).peer);
    ctx.body = await addWorkspace(registry, await requests.bodyOf(ctx));
    ctx.status = 201;
  });
  router.delete('/workspaces/:workspace', async (ctx) => {
    const context = requests.contextOf(ctx);
    requireTrusted(policy(), context.peer);
    const body = await requests.bodyOf(ctx);
    ctx.body = await removeWorkspace(removal, workspaceOf(selection, context.route), body);
  });
}
