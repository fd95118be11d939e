// Sessions as a client handles them: create, list, look, heartbeat, detach, close.
import { canonicalCwd, canonicalPath, isWorkspaceId, workspaceIdOf } from '../../contract/canonical-path.ts';
import { failPlain } from '../../contract/errors.ts';
import { FEED_SEQ_HEADER } from '../../contract/feed.ts';
import { truncated } from '../../contract/log.ts';
import { listPage } from '../../contract/session-page.ts';
import { parseCreateRequest, workspaceMismatch } from '../../domain/create-request.ts';
import type { Created } from '../../sessions.ts';
import { clientIdOf, type Handler, NO_CONTENT, ok } from '../call.ts';
import type { RouteContext } from '../routes.ts';

/** @throws ApiError 400 when a body's `cwd` is not the bound workspace. */
export function checkWorkspace(value: unknown, { workspace, log }: RouteContext): void {
  const cwd = canonicalCwd(value);
  if (cwd === undefined || cwd === workspace) return;
  const mismatch = workspaceMismatch(workspace, cwd);
  log.info(mismatch.context, 'session refused: another workspace');
  throw mismatch;
}

export function createSession(context: RouteContext): Handler {
  const { sessions, workspace } = context;
  return async (call) => {
    const clientId = clientIdOf(call);
    checkWorkspace(call.body.cwd, context);
    const created = await sessions.create(parseCreateRequest(call.body), clientId, call.hasLeft);
    return {
      status: 200,
      body: createdBody(created, workspace),
      headers: { [FEED_SEQ_HEADER]: String(created.feedSeq) },
    };
  };
}

/** What an answer says that made a session live, or attached to it. */
export function createdBody(
  { session, clientId, isAttached, isModelApplied }: Created,
  workspaceCwd: string,
) {
  const { sourceType, sourceId } = session.feedSession(false);
  return {
    sessionId: session.sessionId,
    workspaceCwd,
    attached: isAttached,
    clientId,
    createdAt: new Date(session.createdAtMs).toISOString(),
    ...(isAttached
      ? {
          hasActivePrompt: session.turns.running !== undefined,
          hasRunningBackgroundTasks: session.hasAgentWork,
        }
      : {}),
    ...(sourceType === undefined ? {} : { sourceType }),
    ...(sourceId === undefined ? {} : { sourceId }),
    ...(isModelApplied === undefined ? {} : { modelApplied: isModelApplied }),
  };
}

/** `GET /workspace/:id/sessions`: a relative path that is no id has no code here, unlike the plural route. */
export function listByPath(context: RouteContext): Handler {
  return (call) => {
    const selector = call.params.id ?? '';
    if (!isWorkspaceId(selector) && !selector.startsWith('/'))
      throw failPlain(400, '`:id` must be a workspace id or an absolute path');
    return list(context, selector, call.query);
  };
}

/** `GET /workspaces/:workspace/sessions`. */
export function listBySelector(context: RouteContext): Handler {
  return (call) => list(context, call.params.workspace ?? '', call.query);
}

function list({ sessions, workspace }: RouteContext, selector: string, query: URLSearchParams) {
  const isOurs =
    selector === workspaceIdOf(workspace) ||
    (selector.startsWith('/') && canonicalPath(selector) === workspace);
  if (!isOurs) throw workspaceMismatch(workspace, truncated(selector));
  const items = sessions.all().map((session) => ({
    createdAtMs: session.createdAtMs,
    summary: { ...session.summary(), isArchived: false },
  }));
  return ok(listPage(items, query));
}

export function status({ sessions }: RouteContext): Handler {
  return ({ params }) => ok(sessions.get(params.id ?? '').summary());
}

export function heartbeat({ sessions }: RouteContext): Handler {
  return (call) => {
    const clientId = clientIdOf(call);
    const session = sessions.get(call.params.id ?? '');
    const lastSeenAt = sessions.heartbeat(session, clientId);
    return ok({
      sessionId: session.sessionId,
      ...(clientId === undefined ? {} : { clientId }),
      lastSeenAt,
    });
  };
}

export function detach({ sessions }: RouteContext): Handler {
  return (call) => {
    const clientId = clientIdOf(call);
    sessions.detach(sessions.get(call.params.id ?? ''), clientId);
    return NO_CONTENT;
  };
}

export function closeSession({ sessions }: RouteContext): Handler {
  return (call) => {
    const clientId = clientIdOf(call);
    const session = sessions.get(call.params.id ?? '');
    session.checkClient(clientId);
    sessions.close(session, clientId);
    return NO_CONTENT;
  };
}
