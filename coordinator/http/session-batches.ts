// Requests about sessions of several workspaces at once: each daemon is asked about its own sessions, and the answers are merged.
import { failedMember, parseCatalogRequest } from '../../daemon/contract/catalog-request.ts';
import { ApiError } from '../../daemon/contract/errors.ts';
import type { JsonObject } from '../../daemon/contract/json-body.ts';
import type { SessionPage } from '../../daemon/contract/session-page.ts';
import { sessionKey } from '../../daemon/contract/wire.ts';
import type { Fleet, WorkspaceKey } from '../supervise/fleet.ts';
import type { DaemonAnswer, DaemonClient } from '../upstream/daemon-client.ts';
import { postToDaemon } from './daemon-post.ts';
import type { SessionCall } from './sessions.ts';
import { bySelector, fenceOf, type SelectionDeps, workspaceOf } from './workspace-selection.ts';

export interface BatchDeps extends SelectionDeps {
  readonly fleet: Pick<Fleet, 'ensureReady' | 'endpointOf'>;
  readonly client: DaemonClient;
}

/** The protocol's bound for session ids in one request. A longer list is passed on whole, for a daemon to refuse. */
const MAX_SESSIONS = 100;

/**
 * Archives, unarchives or deletes sessions, each in the daemon of its workspace; sessions that the coordinator does not know in
 * the daemon of the workspace that the request selects.
 * @returns the daemon's answer where one daemon was asked, else the joined lists of all answers. A client id belongs to one
 *   workspace, so several daemons are asked without the client id.
 * @throws ApiError as `workspaceOf`, and where one daemon was asked as `Fleet.ensureReady`.
 */
export async function batchSessions(
  deps: BatchDeps,
  call: SessionCall,
): Promise<DaemonAnswer | { readonly merged: object }> {
  const { context, body } = call;
  const selected = workspaceOf(deps, context.route);
  const groups = groupsOf(deps, call, selected);
  const [only] = groups;
  if (groups.length <= 1) {
    const endpoint = await deps.fleet.ensureReady(only?.workspace ?? selected, context.signal);
    return postToDaemon(deps.client, endpoint, { ...call, path: context.route.path });
  }
  const answers = await Promise.all(
    groups.map(({ workspace, sessionIds }) =>
      answerOf(deps, workspace, { ...call, body: { ...body, sessionIds } }, sessionIds),
    ),
  );
  return { merged: mergedOf(answers) };
}

/** The sessions of one request that belong to one workspace. */
interface Group {
  readonly workspace: WorkspaceKey;
  readonly sessionIds: readonly string[];
}

/**
 * The request's sessions by workspace. Empty when the whole request goes to one daemon: under a `/w/:ws` prefix, or when the list
 * of ids is malformed or too long, so that a daemon has to refuse it.
 */
function groupsOf(
  { registry, index }: SelectionDeps,
  { context, body }: SessionCall,
  selected: WorkspaceKey,
): readonly Group[] {
  const { sessionIds } = body;
  const isList = Array.isArray(sessionIds) && sessionIds.length <= MAX_SESSIONS;
  if (!isList || context.route.within !== undefined) return [];
  const groups = new Map<string, { workspace: WorkspaceKey; sessionIds: string[] }>();
  for (const id of sessionIds as readonly unknown[]) {
    if (typeof id !== 'string') return [];
    const ownerId = index.ownerOf(sessionKey(id));
    const workspace = (ownerId === undefined ? undefined : registry.byId(ownerId)) ?? selected;
    const group = groups.get(workspace.id) ?? { workspace, sessionIds: [] };
    group.sessionIds.push(id);
    groups.set(workspace.id, group);
  }
  return [...groups.values()];
}

/**
 * The daemon's answer for one workspace's sessions. If the daemon is unreachable or refuses: an error for each of `sessionIds`.
 */
async function answerOf(
  deps: BatchDeps,
  workspace: WorkspaceKey,
  { context, body }: SessionCall,
  sessionIds: readonly string[],
): Promise<JsonObject> {
  try {
    const endpoint = await deps.fleet.ensureReady(workspace, context.signal);
    const post = { context, path: context.route.path, body, clientHeaders: {} };
    const answer = await postToDaemon(deps.client, endpoint, post);
    const said = parsed(answer);
    return answer.status === 200 ? said : { errors: errorsOf(sessionIds, String(said.error), said.code) };
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    return { errors: errorsOf(sessionIds, error.message, error.code) };
  }
}

function errorsOf(sessionIds: readonly string[], error: string, code: unknown): readonly object[] {
  return sessionIds.map((sessionId) => ({ sessionId, error, ...(code === undefined ? {} : { code }) }));
}

/** All lists of the daemons' answers; lists of the same name are joined. */
function mergedOf(answers: readonly JsonObject[]): object {
  const lists: Record<string, unknown[]> = {};
  for (const answer of answers)
    for (const [name, list] of Object.entries(answer))
      if (Array.isArray(list)) lists[name] = [...(lists[name] ?? []), ...list];
  return { notFound: [], errors: [], ...lists };
}

/**
 * The answer to `POST /sessions/catalog`: the session listings of several workspaces, each from the workspace's daemon while that
 * runs, else from the store. Starts nothing.
 * @throws ApiError 400 `invalid_request`. A failure of one workspace alone stands in that workspace's member of the answer.
 */
export async function readCatalogs(
  deps: BatchDeps,
  { context, body }: Omit<SessionCall, 'clientHeaders'>,
  fromStore: (workspace: WorkspaceKey, query: URLSearchParams) => SessionPage,
): Promise<object> {
  const { registry, fleet } = deps;
  const fence = fenceOf(registry, context.route);
  const all = (fence === undefined ? registry.list() : [fence]).map(({ path }) => path);
  const { members, hasGroups, queryOf } = parseCatalogRequest(body, all);
  const groups = hasGroups ? { groups: { groups: [], colorOptions: [] } } : {};
  const { path } = context.route;
  const workspaces = members.map(async (member): Promise<object> => {
    const { workspace: selector, cursor } = member;
    try {
      const workspace = bySelector(registry, selector, false);
      const endpoint = fleet.endpointOf(workspace.id);
      if (endpoint === undefined) {
        const page = fromStore(workspace, queryOf(member));
        return { workspace: selector, workspaceId: workspace.id, cwd: workspace.path, ...page, ...groups };
      }
      const asked = [{ workspace: workspace.path, ...(cursor === undefined ? {} : { cursor }) }];
      const post = { context, path, body: { ...body, workspaces: asked }, clientHeaders: {} };
      const answer = parsed(await postToDaemon(deps.client, endpoint, post));
      const [found] = Array.isArray(answer.workspaces) ? (answer.workspaces as readonly object[]) : [];
      return { ...found, workspace: selector };
    } catch (error) {
      return failedMember(selector, error);
    }
  });
  return { workspaces: await Promise.all(workspaces) };
}

/** The JSON object in a daemon's answer; `{}` for any other JSON value. @throws SyntaxError when the body is not JSON. */
function parsed({ body }: DaemonAnswer): JsonObject {
  const value: unknown = JSON.parse(body.toString('utf8'));
  return typeof value === 'object' && value !== null ? (value as JsonObject) : {};
}
