// The sessions of the workspace as a collection: listings, search, live state, and what is done to several at once.
import { canonicalPath, isWorkspaceId, workspaceIdOf } from '../../contract/canonical-path.ts';
import { ApiError, fail, failPlain } from '../../contract/errors.ts';
import type { JsonObject } from '../../contract/json-body.ts';
import { truncated } from '../../contract/log.ts';
import { listPage } from '../../contract/session-page.ts';
import { isUuid } from '../../contract/wire.ts';
import { workspaceMismatch } from '../../domain/create-request.ts';
import { parseMetadataPatch } from '../../domain/metadata.ts';
import { isRecord } from '../../domain/records.ts';
import { parseSessionIds } from '../../domain/session-batch.ts';
import { parseSearchQuery } from '../../domain/session-search.ts';
import { type Call, clientIdOf, type Handler, ok } from '../call.ts';
import type { RouteContext } from '../routes.ts';

/** Most workspaces of one `POST /sessions/catalog`. */
const MAX_CATALOGUES = 256;

/** @throws ApiError 400 when the selector is neither the id nor the path of our workspace. */
export function checkSelector({ workspace }: RouteContext, selector: string): void {
  const isOurs =
    selector === workspaceIdOf(workspace) ||
    (selector.startsWith('/') && canonicalPath(selector) === workspace);
  if (!isOurs) throw workspaceMismatch(workspace, truncated(selector));
}

/** A route below `/workspace/:id`: a relative path that is no id has no code there, unlike below `/workspaces`. */
export function byPath(context: RouteContext, handler: Handler): Handler {
  return (call) => {
    const selector = call.params.id ?? '';
    if (!isWorkspaceId(selector) && !selector.startsWith('/'))
      throw failPlain(400, '`:id` must be a workspace id or an absolute path');
    checkSelector(context, selector);
    return handler(call);
  };
}

export function list({ catalogue }: RouteContext): Handler {
  return (call) => ok(listPage(catalogue.items(), call.query));
}

export function search({ catalogue }: RouteContext): Handler {
  return async (call) => ok(await catalogue.search(parseSearchQuery(call.query), call.hasLeft));
}

export function sessionInfo({ catalogue }: RouteContext): Handler {
  return () => ok(catalogue.info());
}

export function liveState({ catalogue }: RouteContext): Handler {
  return () => ({ status: 200, body: catalogue.liveState(), headers: { 'Cache-Control': 'no-store' } });
}

export function archive(context: RouteContext): Handler {
  return (call) => {
    const clientId = knownClient(call, context);
    return ok(context.catalogue.archive(parseSessionIds(call.body), clientId));
  };
}

export function unarchive(context: RouteContext): Handler {
  return (call) => {
    knownClient(call, context);
    return ok(context.catalogue.unarchive(parseSessionIds(call.body)));
  };
}

export function removeSessions(context: RouteContext): Handler {
  return (call) => {
    const clientId = knownClient(call, context);
    return ok(context.catalogue.remove(parseSessionIds(call.body), clientId));
  };
}

/** `POST /sessions/catalog`: the listings of several workspaces in one answer. A member that fails says so in its place. */
export function catalogs(context: RouteContext): Handler {
  return ({ body }) => {
    const options = optionsOf(body.options);
    const workspaces = membersOf(body, context).map(({ workspace, cursor }) => {
      const query = new URLSearchParams({ ...options, ...(cursor === undefined ? {} : { cursor }) });
      return catalogOf(context, workspace, query, body.includeGroups === true);
    });
    return ok({ workspaces });
  };
}

/** `PATCH /workspaces/:workspace/session/:id/metadata`: of a session that is live, or only on disk. */
export function patchAnyMetadata({ sessions, catalogue }: RouteContext): Handler {
  return (call) => {
    const clientId = clientIdOf(call);
    const id = call.params.id ?? '';
    if (!isUuid(id)) throw fail('invalid_session_id', 'The session id must be a UUID here');
    const patch = parseMetadataPatch(call.body);
    const atRest =
      sessions.find(id) === undefined ? catalogue.patchStored(id.toLowerCase(), patch) : undefined;
    if (atRest !== undefined) return ok(atRest);
    const live = sessions.get(id);
    live.checkClient(clientId);
    return ok(sessions.patchMetadata(live, patch, clientId));
  };
}

/** @throws ApiError 400 for an id that no live session of the workspace knows. */
function knownClient(call: Call, { sessions }: RouteContext): string | undefined {
  const clientId = clientIdOf(call);
  if (clientId !== undefined && !sessions.knowsClient(clientId))
    throw fail('invalid_client_id', 'Client id is not registered in this workspace', { clientId });
  return clientId;
}

interface Member {
  /** As the request names it. */
  readonly workspace: string;
  readonly cursor: string | undefined;
}

/** @throws ApiError 400 `invalid_request`. */
function membersOf({ workspaces }: JsonObject, { workspace }: RouteContext): readonly Member[] {
  if (workspaces === 'all') return [{ workspace, cursor: undefined }];
  if (!Array.isArray(workspaces) || workspaces.length === 0 || workspaces.length > MAX_CATALOGUES)
    throw fail('invalid_request', `\`workspaces\` must be "all" or a list of 1 to ${MAX_CATALOGUES}`);
  return workspaces.map((member: unknown) => {
    const { workspace: selector, cursor } = isRecord(member) ? member : {};
    if (typeof selector !== 'string' || (cursor !== undefined && typeof cursor !== 'string'))
      throw fail('invalid_request', 'Each of `workspaces` must have a `workspace`, and may have a `cursor`');
    return { workspace: selector, cursor };
  });
}

/** @throws ApiError 400 `invalid_request`. */
function optionsOf(options: unknown): Record<string, string> {
  if (options === undefined) return {};
  if (!isRecord(options)) throw fail('invalid_request', '`options` must be an object when it is given');
  return Object.fromEntries(Object.entries(options).map(([key, value]) => [key, String(value)]));
}

function catalogOf(context: RouteContext, workspace: string, query: URLSearchParams, hasGroups: boolean) {
  try {
    checkSelector(context, workspace);
    return {
      workspace,
      workspaceId: workspaceIdOf(context.workspace),
      cwd: context.workspace,
      ...listPage(context.catalogue.items(), query, 'merged'),
      ...(hasGroups ? { groups: { groups: [], colorOptions: [] } } : {}),
    };
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    return { workspace, error: { code: error.code, message: error.message, status: error.status } };
  }
}
