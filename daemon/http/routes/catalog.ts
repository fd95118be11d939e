// Handlers for the sessions of the workspace as a collection: lists, search, live state, changes of several sessions at once, and
// the metadata of a session that need not be live.
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

/** `GET .../sessions`: one page of the list of the workspace's sessions, live or not. */
export function list({ catalog }: CatalogNeeds): Handler {
  return async (call) => ok(listPage(await catalog.listed(), call.query));
}

/** `GET .../sessions/search`: the sessions whose transcripts match a query. The search ends early when the client leaves. */
export function search({ catalog }: CatalogNeeds): Handler {
  return async (call) => ok(await catalog.search(parseSearchQuery(call.query), call.hasLeft));
}

/** `GET .../session-info`: the numbers of active, archived and live sessions. Asks no agent. */
export function sessionInfo({ catalog }: CatalogNeeds): Handler {
  return () => ok(catalog.info());
}

/** `GET .../sessions/live-state`: the often changing fields of live sessions, which clients poll. */
export function liveState({ catalog }: CatalogNeeds): Handler {
  return () => ({ status: 200, body: catalog.liveState(), headers: { 'Cache-Control': 'no-store' } });
}

// The three batch handlers below take any well-formed client id, because a client whose last session has just been closed is
// registered on no session.

/** `POST .../sessions/archive`: archives the sessions; an idle live session is closed first. */
export function archive({ catalogChanges }: ChangeNeeds): Handler {
  return async (call) => {
    const clientId = clientIdOf(call);
    return ok(await catalogChanges.archive(parseSessionIds(call.body), clientId));
  };
}

/** `POST .../sessions/unarchive`: takes the sessions out of the archive. */
export function unarchive({ catalogChanges }: ChangeNeeds): Handler {
  return async (call) => {
    clientIdOf(call);
    return ok(await catalogChanges.unarchive(parseSessionIds(call.body)));
  };
}

/** `POST .../sessions/delete`: deletes the sessions and what is stored of them. */
export function removeSessions({ catalogChanges }: ChangeNeeds): Handler {
  return async (call) => {
    const clientId = clientIdOf(call);
    return ok(await catalogChanges.remove(parseSessionIds(call.body), clientId));
  };
}

/**
 * `POST /sessions/catalog`: for each workspace of the body, a page of its sessions, or an error in place of the page. Only the
 * daemon's workspace gets a page.
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

/** `PATCH /workspaces/:workspace/session/:id/metadata`: changes the metadata of a live session, or of a session only on disk. */
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
