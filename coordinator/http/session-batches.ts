// Requests about sessions of several workspaces at once: each daemon is asked for its own, and their answers become one.
import type { OutgoingHttpHeaders } from 'node:http';
import { failedMember, parseCatalogRequest } from '../../daemon/contract/catalog-request.ts';
import { ApiError } from '../../daemon/contract/errors.ts';
import type { JsonObject } from '../../daemon/contract/json-body.ts';
import type { SessionPage } from '../../daemon/contract/session-page.ts';
import { sessionKey } from '../../daemon/contract/wire.ts';
import type { WorkspaceKey } from '../supervise/fleet.ts';
import type { DaemonAnswer } from '../upstream/daemon-client.ts';
import type { Endpoint } from '../upstream/endpoint.ts';
import { trustHeaders } from '../upstream/trust-headers.ts';
import { type DestinationDeps, fenceOf, workspaceOf } from './destination.ts';
import type { RequestContext } from './request-context.ts';
import type { SessionDeps } from './sessions.ts';
import { bySelector } from './workspace-book.ts';

export type BatchDeps = Pick<SessionDeps, 'destination' | 'fleet' | 'daemon'>;

/** The protocol's bound; longer lists are for a daemon to refuse. */
const MAX_SESSIONS = 100;

/**
 * Archives, brings back or deletes sessions, each where it belongs; unknown ones are asked of the request's own workspace.
 * @returns a daemon's answer where one was asked, else what the answers of several say together. A client id is one
 *   workspace's matter, so several are asked without.
 * @throws ApiError as `workspaceOf`, and where one daemon was asked as `Fleet.ensureReady`.
 */
export async function batchSessions(
  deps: BatchDeps,
  context: RequestContext,
  body: JsonObject,
  clientHeaders: OutgoingHttpHeaders,
): Promise<DaemonAnswer | { readonly merged: object }> {
  const own = workspaceOf(deps.destination, context.route);
  const groups = groupsOf(deps.destination, context, own, body.sessionIds);
  const [only] = groups;
  if (groups.length <= 1) {
    const endpoint = await deps.fleet.ensureReady(only?.workspace ?? own, context.signal);
    return post(deps, context, endpoint, body, clientHeaders);
  }
  const answers = await Promise.all(groups.map((group) => answerOf(deps, context, body, group)));
  return { merged: mergedOf(answers) };
}

interface Group {
  readonly workspace: WorkspaceKey;
  readonly sessionIds: readonly string[];
}

function groupsOf(
  { book, index }: DestinationDeps,
  context: RequestContext,
  own: WorkspaceKey,
  sessionIds: unknown,
): readonly Group[] {
  const isList = Array.isArray(sessionIds) && sessionIds.length <= MAX_SESSIONS;
  if (!isList || context.route.within !== undefined) return [];
  const groups = new Map<string, { workspace: WorkspaceKey; sessionIds: string[] }>();
  for (const id of sessionIds as readonly unknown[]) {
    if (typeof id !== 'string') return [];
    const ownerId = index.ownerOf(sessionKey(id));
    const workspace = (ownerId === undefined ? undefined : book.byId(ownerId)) ?? own;
    const group = groups.get(workspace.id) ?? { workspace, sessionIds: [] };
    group.sessionIds.push(id);
    groups.set(workspace.id, group);
  }
  return [...groups.values()];
}

/** A daemon that cannot be asked, or refuses, leaves its sessions as they are. */
async function answerOf(
  deps: BatchDeps,
  context: RequestContext,
  body: JsonObject,
  { workspace, sessionIds }: Group,
): Promise<JsonObject> {
  try {
    const endpoint = await deps.fleet.ensureReady(workspace, context.signal);
    const answer = await post(deps, context, endpoint, { ...body, sessionIds }, {});
    const told = parsed(answer);
    return answer.status === 200 ? told : { errors: errorsOf(sessionIds, String(told.error), told.code) };
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    return { errors: errorsOf(sessionIds, error.message, error.code) };
  }
}

function errorsOf(sessionIds: readonly string[], error: string, code: unknown): readonly object[] {
  return sessionIds.map((sessionId) => ({ sessionId, error, ...(code === undefined ? {} : { code }) }));
}

/** The lists of the answers, each joined. */
function mergedOf(answers: readonly JsonObject[]): object {
  const lists: Record<string, unknown[]> = {};
  for (const answer of answers)
    for (const [name, list] of Object.entries(answer))
      if (Array.isArray(list)) lists[name] = [...(lists[name] ?? []), ...list];
  return { notFound: [], errors: [], ...lists };
}

/**
 * The listings of several workspaces: from the daemons that run, for the others from the store. Starts nothing.
 * @throws ApiError 400 `invalid_request`; whatever concerns one workspace stands in its place of the answer.
 */
export async function readCatalogs(
  deps: BatchDeps,
  context: RequestContext,
  body: JsonObject,
  fromStore: (workspace: WorkspaceKey, query: URLSearchParams) => SessionPage,
): Promise<object> {
  const { book, fleet } = deps.destination;
  const fence = fenceOf(deps.destination, context.route);
  const all = (fence === undefined ? book.list() : [fence]).map(({ path }) => path);
  const { members, hasGroups, queryOf } = parseCatalogRequest(body, all);
  const groups = hasGroups ? { groups: { groups: [], colorOptions: [] } } : {};
  const workspaces = members.map(async (member): Promise<object> => {
    const { workspace: selector, cursor } = member;
    try {
      const workspace = bySelector(book, selector, false);
      const endpoint = fleet.endpointOf(workspace.id);
      if (endpoint === undefined) {
        const page = fromStore(workspace, queryOf(member));
        return { workspace: selector, workspaceId: workspace.id, cwd: workspace.path, ...page, ...groups };
      }
      const asked = [{ workspace: workspace.path, ...(cursor === undefined ? {} : { cursor }) }];
      const answer = parsed(await post(deps, context, endpoint, { ...body, workspaces: asked }, {}));
      const [found] = Array.isArray(answer.workspaces) ? (answer.workspaces as readonly object[]) : [];
      return { ...found, workspace: selector };
    } catch (error) {
      return failedMember(selector, error);
    }
  });
  return { workspaces: await Promise.all(workspaces) };
}

function post(
  { daemon }: BatchDeps,
  context: RequestContext,
  endpoint: Endpoint,
  body: JsonObject,
  clientHeaders: OutgoingHttpHeaders,
): Promise<DaemonAnswer> {
  return daemon.call(endpoint, {
    method: 'POST',
    path: context.route.path,
    headers: {
      ...clientHeaders,
      ...trustHeaders(endpoint.secret, context),
      'content-type': 'application/json',
    },
    body: Buffer.from(JSON.stringify(body)),
    signal: context.signal,
  });
}

function parsed({ body }: DaemonAnswer): JsonObject {
  const value: unknown = JSON.parse(body.toString('utf8'));
  return typeof value === 'object' && value !== null ? (value as JsonObject) : {};
}
