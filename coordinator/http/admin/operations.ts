// The admin plane's routes that change something: stop, restart, drain, and the settings of a workspace. Handlers only check
// the request and pass it on.
import type Router from '@koa/router';
import type { Context } from 'koa';
import { fail } from '../../../daemon/contract/errors.ts';
import { type JsonObject, readJsonBody } from '../../../daemon/contract/json-body.ts';
import type { WorkspaceKey } from '../../supervise/fleet.ts';
import type { Maintenance } from '../../supervise/workspaces/maintenance.ts';
import { bySelector, type WorkspaceLookup } from '../workspace-selection.ts';

export interface OperationDeps {
  readonly registry: WorkspaceLookup;
  readonly maintenance: Maintenance;
  /** Begins the stop of the coordinator; returns at once. */
  readonly requestStop: (reason: string, leavesDaemons: boolean) => void;
}

const MAX_BODY_BYTES = 64 * 1024;

/** Adds the routes to the admin router, whose prefix is `/admin`. */
export function addOperations(router: Router, deps: OperationDeps): void {
  const { maintenance } = deps;
  router.post('/stop', async (ctx) => {
    const { leaveDaemons } = await bodyOf(ctx);
    ctx.status = 202;
    ctx.body = { stopping: true, leaveDaemons: leaveDaemons === true };
    // The stop begins only after the answer has left, because the stop closes the connection of this request.
    ctx.res.once('close', () => deps.requestStop('admin', leaveDaemons === true));
  });
  router.post('/restart', async (ctx) => {
    const body = await bodyOf(ctx);
    const atOnce = wholeNumber(body, 'atOnce') ?? 1;
    ctx.body = { restarted: await maintenance.restartAll(atOnce, wholeNumber(body, 'drainMs')) };
  });
  router.post('/workspaces/:ws/restart', async (ctx) => {
    const body = await bodyOf(ctx);
    const { id } = selectedWorkspace(deps, ctx);
    ctx.body = { restarted: [await maintenance.restart(id, wholeNumber(body, 'drainMs'))] };
  });
  router.post('/workspaces/:ws/drain', async (ctx) => {
    const body = await bodyOf(ctx);
    const { id } = selectedWorkspace(deps, ctx);
    const reason =
      typeof body.reason === 'string' && body.reason !== '' ? body.reason : 'drained by an operator';
    await maintenance.drain(id, reason, wholeNumber(body, 'drainMs'));
    ctx.body = { drained: true, workspaceId: id };
  });
  router.post('/workspaces/:ws/undrain', (ctx) => {
    const { id } = selectedWorkspace(deps, ctx);
    maintenance.undrain(id);
    ctx.body = { drained: false, workspaceId: id };
  });
  router.patch('/workspaces/:ws', async (ctx) => {
    const body = await bodyOf(ctx);
    const { id } = selectedWorkspace(deps, ctx);
    ctx.body = { workspaceId: id, ...maintenance.change(id, settingsOf(body)) };
  });
}

function bodyOf(ctx: Context): Promise<JsonObject> {
  return readJsonBody(ctx.req, MAX_BODY_BYTES);
}

function selectedWorkspace({ registry }: OperationDeps, ctx: Context): WorkspaceKey {
  return bySelector(registry, ctx.params.ws ?? '', false);
}

/** The workspace settings in the body of a PATCH. @throws ApiError 400 naming the field that is unknown or not valid. */
function settingsOf(body: JsonObject) {
  const known = new Set(['idleTimeoutMs', 'pinned']);
  const unknown = Object.keys(body).find((key) => !known.has(key));
  if (unknown !== undefined)
    throw fail(
      'invalid_workspace_request',
      `Unknown setting "${unknown}"; known settings: ${[...known].join(', ')}`,
    );
  if (body.pinned !== undefined && typeof body.pinned !== 'boolean')
    throw fail('invalid_workspace_request', '`pinned` must be true or false');
  const idleTimeoutMs = body.idleTimeoutMs === null ? null : wholeNumber(body, 'idleTimeoutMs');
  return {
    ...(idleTimeoutMs === undefined ? {} : { idleTimeoutMs }),
    ...(body.pinned === undefined ? {} : { isPinned: body.pinned }),
  };
}

/** Bound of all numbers in a body: the longest delay of a Node timer. A timer with a longer delay would fire at once. */
const MAX_NUMBER = 2 ** 31 - 1;

/** The number in a field of the body; undefined when the field is missing. @throws ApiError 400 naming the field. */
function wholeNumber(body: JsonObject, field: string): number | undefined {
  const value = body[field];
  if (value === undefined) return undefined;
  if (typeof value === 'number' && Number.isInteger(value) && value >= 0 && value <= MAX_NUMBER) return value;
  throw fail('invalid_workspace_request', `\`${field}\` must be a whole number from 0 to ${MAX_NUMBER}`);
}
