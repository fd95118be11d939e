// Live sessions as clients handle them: create, status, heartbeat, detach, close.
import { canonicalCwd } from '../../contract/canonical-path.ts';
import { FEED_SEQ_HEADER } from '../../contract/control.ts';
import { parseCreateRequest, workspaceMismatch } from '../../domain/create-request.ts';
import { summaryOf } from '../../session/summary.ts';
import type { JoinedSession } from '../../sessions/attachments.ts';
import { clientIdOf, type Handler, NO_CONTENT, ok } from '../call.ts';
import { callerOf, requestedSession } from '../caller.ts';
import type { RouteContext } from '../route-context.ts';

/** @param value the `cwd` of a body. @throws ApiError 400 when it is given and is not the bound workspace. */
export function checkWorkspace(
  value: unknown,
  { workspace, log }: Pick<RouteContext, 'workspace' | 'log'>,
): void {
  const cwd = canonicalCwd(value);
  if (cwd === undefined || cwd === workspace) return;
  const mismatch = workspaceMismatch(workspace, cwd);
  log.info(mismatch.context, 'session refused: another workspace');
  throw mismatch;
}

/** `POST /session`: makes a session, or attaches the client to the one in the single slot. */
export function sessionCreation(context: Pick<RouteContext, 'sessions' | 'workspace' | 'log'>): Handler {
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

/** The fields of an answer to a request that has made a session live or attached its client to one. */
export function createdBody(
  { session, clientId, isAttached, isModelApplied }: JoinedSession,
  workspaceCwd: string,
) {
  const { sourceType, sourceId } = session.source;
  const { worktree } = session.checkout;
  return {
    sessionId: session.sessionId,
    workspaceCwd,
    attached: isAttached,
    clientId,
    createdAt: new Date(session.createdAtMs).toISOString(),
    ...(isAttached
      ? {
          hasActivePrompt: session.turns.running !== undefined,
          hasRunningBackgroundTasks: session.hasBackgroundWork,
        }
      : {}),
    ...(sourceType === undefined ? {} : { sourceType }),
    ...(sourceId === undefined ? {} : { sourceId }),
    ...session.checkout,
    ...(worktree === undefined ? {} : { currentCwd: worktree.path }),
    ...(isModelApplied === undefined ? {} : { modelApplied: isModelApplied }),
  };
}

/** `GET /session/:id/status`. */
export function sessionStatus({ sessions }: Pick<RouteContext, 'sessions'>): Handler {
  return (call) => ok(summaryOf(requestedSession(call, sessions)));
}

/** `POST /session/:id/heartbeat`. */
export function heartbeat({ sessions }: Pick<RouteContext, 'sessions'>): Handler {
  return (call) => {
    const clientId = clientIdOf(call);
    const session = requestedSession(call, sessions);
    const lastSeenAt = sessions.heartbeat(session, clientId);
    return ok({
      sessionId: session.sessionId,
      ...(clientId === undefined ? {} : { clientId }),
      lastSeenAt,
    });
  };
}

/** `POST /session/:id/detach`. */
export function detach({ sessions }: Pick<RouteContext, 'sessions'>): Handler {
  return (call) => {
    const clientId = clientIdOf(call);
    sessions.detach(requestedSession(call, sessions), clientId);
    return NO_CONTENT;
  };
}

/** `DELETE /session/:id`. */
export function sessionClose({ sessions }: Pick<RouteContext, 'sessions'>): Handler {
  return (call) => {
    const { session, clientId } = callerOf(call, sessions);
    sessions.close(session, clientId);
    return NO_CONTENT;
  };
}
