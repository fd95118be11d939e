// Handlers with which clients create, read, keep and end live sessions: create, status, heartbeat, detach, close.
import { canonicalCwd } from '../../contract/canonical-path.ts';
import { FEED_SEQ_HEADER } from '../../contract/control.ts';
import { parseCreateRequest, workspaceMismatch } from '../../domain/create-request.ts';
import { summaryOf } from '../../session/summary.ts';
import type { JoinedSession } from '../../sessions/attachments.ts';
import { clientIdOf, type Handler, NO_CONTENT, ok } from '../call.ts';
import { callerOf, requestedSession } from '../caller.ts';
import type { RouteContext } from '../route-context.ts';

/** Checks the `cwd` of a body, `value`. @throws ApiError 400 when a `cwd` is given and is not the daemon's workspace. */
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

/** `POST /session`: makes a session, or attaches the client to the session in the slot. */
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

/** The fields that the answers to create, load, resume and branch share: the session, the client's id, and how it was joined. */
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

/** `GET /session/:id/status`: the summary of a live session: metadata, clients, turn state and open permission questions. */
export function sessionStatus({ sessions }: Pick<RouteContext, 'sessions'>): Handler {
  return (call) => ok(summaryOf(requestedSession(call, sessions)));
}

/** `POST /session/:id/heartbeat`: records that the client is still there. */
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

/** `POST /session/:id/detach`: removes one registration of the client, which may close the session. */
export function detach({ sessions }: Pick<RouteContext, 'sessions'>): Handler {
  return (call) => {
    const clientId = clientIdOf(call);
    sessions.detach(requestedSession(call, sessions), clientId);
    return NO_CONTENT;
  };
}

/** `DELETE /session/:id`: closes the session for all its clients. */
export function sessionClose({ sessions }: Pick<RouteContext, 'sessions'>): Handler {
  return (call) => {
    const { session, clientId } = callerOf(call, sessions);
    sessions.close(session, clientId);
    return NO_CONTENT;
  };
}
