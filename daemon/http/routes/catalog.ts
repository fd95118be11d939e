// The sessions of the workspace as a collection: listings, search, live state, and changes of several sessions at once.
import { workspaceIdOf } from '../../contract/canonical-path.ts';
import { failedMember, parseCatalogRequest } from '../../contract/catalog-request.ts';
import { fail } from '../../contract/errors.ts';
import { listPage } from '../../contract/session-page.ts';
import { isUuid, sessionKey } from '../../contract/wire.ts';
import { parseMetadataPatch } from '../../domain/metadata.ts';
import { parseSessionIds } from '../../domain/session-batch.ts';
import { parseSearchQuery } from '../../domain/session-search.ts';
import { clientIdOf, type Handler, ok } from '../call.ts';
import type { RouteContext } from '../route-context.ts';
import { checkSelector } from './workspace.ts';

type CatalogNeeds = Pick<RouteContext, 'catalog'>;
type ChangeNeeds = Pick<RouteContext, 'catalogChanges'>;

/** `GET .../sessions`: a page of the workspace's sessions. */
export function list({ catalog }: CatalogNeeds): Handler {
  return async (call) => ok(listPage(await catalog.listed(), call.query));
}

/** `GET .../sessions/search`. */
export function search({ catalog }: CatalogNeeds): Handler {
  return async (call) => ok(await catalog.search(parseSearchQuery(call.query), call.hasLeft));
}

/** `GET .../session-info`: how many sessions there are of each kind. */
export function sessionInfo({ catalog }: CatalogNeeds): Handler {
  return () => ok(catalog.info());
}

/** `GET .../sessions/live-state`: what clients poll. */
export function liveState({ catalog }: CatalogNeeds): Handler {
  return () => ({ status: 200, body: catalog.liveState(), headers: { 'Cache-Control': 'no-store' } });
}

// A batch takes any well-formed client id: a client whose last session has just been closed is registered nowhere.

/** `POST .../sessions/archive`. */
export function archive({ catalogChanges }: ChangeNeeds): Handler {
  return async (call) => {
    const clientId = clientIdOf(call);
    return ok(await catalogChanges.archive(parseSessionIds(call.body), clientId));
  };
}

/** `POST .../sessions/unarchive`. */
export function unarchive({ catalogChanges }: ChangeNeeds): Handler {
  return async (call) => {
    clientIdOf(call);
    return ok(await catalogChanges.unarchive(parseSessionIds(call.body)));
  };
}

/** `POST .../sessions/delete`. */
export function removeSessions({ catalogChanges }: ChangeNeeds): Handler {
  return async (call) => {
    const clientId = clientIdOf(call);
    return ok(await catalogChanges.remove(parseSessionIds(call.body), clientId));
  };
}

/**
 * `POST /sessions/catalog`: the listings of several workspaces in one answer. The answer has an error for a member that fails.
 */
export function catalogs({ workspace: cwd, catalog }: Pick<RouteContext, 'workspace' | 'catalog'>): Handler {
  return async ({ body }) => {
    const { members, hasGroups, queryOf } = parseCatalogRequest(body, [cwd]);
    const items = await catalog.listed();
    const groups = hasGroups ? { groups: { groups: [], colorOptions: [] } } : {};
    const workspaces = members.map((member) => {
      const { workspace } = member;
      try {
        checkSelector(cwd, workspace);
        const page = listPage(items, queryOf(member), 'merged');
        return { workspace, workspaceId: workspaceIdOf(cwd), cwd, ...page, ...groups };
      } catch (error) {
        return failedMember(workspace, error);
      }
    });
    return ok({ workspaces });
  };
}

/** `PATCH /workspaces/:workspace/session/:id/metadata`: changes a session that is live, or only on disk. */
export function patchAnyMetadata({
  sessions,
  catalogChanges,
}: ChangeNeeds & Pick<RouteContext, 'sessions'>): Handler {
  return (call) => {
    const clientId = clientIdOf(call);
    const id = call.params.id ?? '';
    if (!isUuid(id)) throw fail('invalid_session_id', 'The session id must be a UUID here');
    const patch = parseMetadataPatch(call.body);
    const live = sessions.find(id);
    if (live !== undefined) {
      live.checkClient(clientId);
      return ok(sessions.patchMetadata(live, patch, clientId));
    }
    if (clientId !== undefined && !sessions.knowsClient(clientId))
      throw fail('invalid_client_id', 'Client id is not registered in this workspace', { clientId });
    const sessionId = sessionKey(id);
    const atRest = catalogChanges.patchStored(sessionId, patch);
    if (atRest === undefined) throw fail('session_not_found', 'No such session', { sessionId });
    return ok(atRest);
  };
}
