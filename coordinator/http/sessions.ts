// Requests that make a session live: create, load, resume, branch. This file finds the workspace and asks for admission;
// session-acknowledgement.ts keeps the daemon's answer back until the session is stored.
import type { OutgoingHttpHeaders } from 'node:http';
import { canonicalCwd } from '../../daemon/contract/canonical-path.ts';
import { fail } from '../../daemon/contract/errors.ts';
import type { JsonObject } from '../../daemon/contract/json-body.ts';
import type { Log } from '../../daemon/contract/log.ts';
import type { SessionIndex, WorkspaceKey } from '../supervise/fleet.ts';
import type { SessionAdmission } from '../supervise/sessions/admission.ts';
import type { WorkspaceRegistry } from '../supervise/workspaces/registry.ts';
import type { DaemonAnswer } from '../upstream/daemon-client.ts';
import type { DaemonPost } from './daemon-post.ts';
import type { DormantSessions } from './destination.ts';
import type { RequestContext } from './request-context.ts';
import { shownBy } from './session-acknowledgement.ts';
import type { WorkGate } from './work-gate.ts';
import {
  fenceOf,
  mismatchError,
  primaryOf,
  type WorkspaceLookup,
  workspaceOf,
} from './workspace-selection.ts';

/** Path of a request to branch a session, which makes a new session; one trailing slash is allowed. */
const BRANCH = /\/branch\/?(?:\?|$)/;

export interface SessionDeps {
  readonly registry: WorkspaceLookup & Pick<WorkspaceRegistry, 'open'>;
  readonly index: SessionIndex;
  readonly dormantSessions: Pick<DormantSessions, 'wake'>;
  readonly workGate: WorkGate;
  readonly admission: Pick<SessionAdmission, 'enter'>;
  /** Id of the session in the workspace's slot while no daemon has that session; undefined when there is none. */
  readonly slotSleeper: (workspaceId: string) => string | undefined;
  /** `postUntilStored` of session-acknowledgement.ts, with its dependencies bound. */
  readonly postUntilStored: (workspace: WorkspaceKey, post: DaemonPost) => Promise<DaemonAnswer>;
  readonly log: Log;
}

/** A client's request that makes a session live, or changes several sessions. */
export interface SessionCall {
  readonly context: RequestContext;
  readonly body: JsonObject;
  /** Headers of the client's request that the daemon gets besides the trust headers. */
  readonly clientHeaders: OutgoingHttpHeaders;
}

/**
 * Creates a session, or attaches the client to the session in the workspace's slot. The daemon's refusal is returned like a
 * success: the client gets the daemon's status and body.
 * @throws ApiError 400 when `cwd` is no workspace, 503 at the cap on live sessions, and as `postUntilStored`.
 */
export async function createSessionForClient(deps: SessionDeps, call: SessionCall): Promise<DaemonAnswer> {
  const { context, body } = call;
  const workspace = chosenWorkspace(deps, call);
  deps.workGate.checkDrain(workspace, context.route.class);
  const isSingle = body.sessionId === undefined && (body.sessionScope ?? 'single') === 'single';
  if (isSingle) await wakeSlot(deps, workspace, context.signal);
  const leave = await deps.admission.enter(workspace.id, { isSingle }, context.signal);
  try {
    const named = { ...body, cwd: workspace.path };
    return await postInFleet(deps, workspace, { ...call, path: '/session', body: named });
  } finally {
    leave();
  }
}

/**
 * Loads, resumes or branches a session: in the workspace that `cwd` names, else where the session belongs, else in the
 * primary workspace. A sleeping session is woken first, so that its old client ids and cursors stay valid.
 * @throws ApiError as `createSessionForClient`, and 409 `session_workspace_conflict` when the session is live in another
 *   workspace than `cwd`.
 */
export async function loadSessionForClient(
  deps: SessionDeps,
  sessionId: string,
  call: SessionCall,
): Promise<DaemonAnswer> {
  const { context, body } = call;
  const workspace = workspaceToLoadIn(deps, sessionId, call);
  deps.workGate.checkDrain(workspace, context.route.class);
  const location = deps.index.find(sessionId);
  if (location !== undefined && location.state !== 'live')
    await deps.dormantSessions.wake(sessionId, context.signal);
  const { path } = context.route;
  const isNew = location === undefined || BRANCH.test(path);
  const leave = isNew
    ? await deps.admission.enter(workspace.id, { isSingle: false }, context.signal)
    : () => undefined;
  try {
    const named = body.cwd === undefined ? body : { ...body, cwd: workspace.path };
    return await postInFleet(deps, workspace, { ...call, path, body: named });
  } finally {
    leave();
  }
}

function workspaceToLoadIn(deps: SessionDeps, sessionId: string, call: SessionCall): WorkspaceKey {
  const { registry, index } = deps;
  const { context, body } = call;
  if (body.cwd !== undefined) {
    const named = chosenWorkspace(deps, call);
    const location = index.find(sessionId);
    const live = location?.state === 'live' ? registry.byId(location.workspaceId) : undefined;
    if (live !== undefined && live.id !== named.id)
      throw fail('session_workspace_conflict', 'The session is live in another workspace', {
        sessionId,
        workspaceId: named.id,
        workspaceCwd: named.path,
        liveWorkspaceId: live.id,
        liveWorkspaceCwd: live.path,
      });
    return named;
  }
  const ownerId = index.ownerOf(sessionId);
  const owner = ownerId === undefined ? undefined : registry.byId(ownerId);
  return owner ?? fenceOf(registry, context.route) ?? primaryOf(registry);
}

/**
 * Wakes the session in the workspace's slot, so that the create attaches to that session. If the session cannot be woken, the
 * slot is left to a new session.
 */
async function wakeSlot(deps: SessionDeps, workspace: WorkspaceKey, signal: AbortSignal): Promise<void> {
  const sleeper = deps.slotSleeper(workspace.id);
  if (sleeper === undefined) return;
  try {
    await deps.dormantSessions.wake(sleeper, signal);
  } catch (error) {
    signal.throwIfAborted();
    deps.log.warn({ err: error, sessionId: sleeper }, 'the session of the single slot cannot be woken');
  }
}

/** The workspace of the body's `cwd`, else the workspace that the route selects; a `/w/:ws` prefix forbids any other. */
function chosenWorkspace(deps: SessionDeps, { context, body }: SessionCall): WorkspaceKey {
  const { registry } = deps;
  const cwd = canonicalCwd(body.cwd);
  if (cwd === undefined) return workspaceOf(deps, context.route);
  const forced = context.route.within === undefined ? undefined : workspaceOf(deps, context.route);
  const found = forced === undefined ? registry.open(cwd) : forced.path === cwd ? forced : undefined;
  if (found === undefined) throw mismatchError(registry, String(body.cwd));
  return found;
}

/**
 * Calls `postUntilStored`. A daemon knows only its own workspace, so its 400 `workspace_mismatch` is replaced by the
 * coordinator's own; every other answer is returned as it is.
 */
async function postInFleet(
  deps: SessionDeps,
  workspace: WorkspaceKey,
  post: DaemonPost,
): Promise<DaemonAnswer> {
  const answer = await deps.postUntilStored(workspace, post);
  if (answer.status !== 400 || shownBy(answer).code !== 'workspace_mismatch') return answer;
  const { cwd } = post.body;
  throw mismatchError(deps.registry, typeof cwd === 'string' ? cwd : '');
}
