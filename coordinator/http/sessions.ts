// The calls that make a session live: create, load, resume, branch. Their answers wait until the session is stored, so that
// nothing acknowledged is lost.
import type { OutgoingHttpHeaders } from 'node:http';
import { canonicalCwd } from '../../daemon/contract/canonical-path.ts';
import type { Clock } from '../../daemon/contract/clock.ts';
import { FEED_SEQ_HEADER } from '../../daemon/contract/control.ts';
import { ApiError, fail } from '../../daemon/contract/errors.ts';
import type { FeedSession } from '../../daemon/contract/feed.ts';
import type { JsonObject } from '../../daemon/contract/json-body.ts';
import type { Log } from '../../daemon/contract/log.ts';
import { CLIENT_ID_HEADER } from '../../daemon/contract/wire.ts';
import type { Fleet, WorkspaceKey } from '../supervise/fleet.ts';
import type { SessionAdmission } from '../supervise/sessions/admission.ts';
import type { DaemonAnswer, DaemonClient } from '../upstream/daemon-client.ts';
import type { Endpoint } from '../upstream/endpoint.ts';
import { trustHeaders } from '../upstream/trust-headers.ts';
import { type DestinationDeps, fenceOf, refuseDrained, workspaceOf } from './destination.ts';
import { ClientGone, type RequestContext } from './request-context.ts';
import { mismatchError, primaryOf } from './workspace-book.ts';

/** A path of the load class that makes a session where there was none; one trailing slash is allowed. */
const BRANCH = /\/branch\/?(?:\?|$)/;

/** What a create's answer shows of its session, for where the feed could not tell. */
export interface ShownSession {
  readonly workspaceId: string;
  readonly incarnation: string;
  /** An attach: the row exists, and the clients are to be added to those it has. */
  readonly isAttached: boolean;
  readonly session: FeedSession;
}

export interface AnswerRecorder {
  /** Stores and indexes the session. @throws when the store refuses. */
  recordAnswer(shown: ShownSession): void;
}

export interface SessionDeps {
  readonly destination: DestinationDeps;
  readonly fleet: Pick<Fleet, 'ensureReady' | 'stored'>;
  readonly daemon: DaemonClient;
  readonly admission: Pick<SessionAdmission, 'enter'>;
  /** The session in the workspace's single slot that no daemon has now. */
  readonly slotSleeper: (workspaceId: string) => string | undefined;
  readonly recorder: AnswerRecorder;
  readonly clock: Clock;
  readonly log: Log;
  /** Time for a daemon to undo what could not be stored. */
  readonly undoTimeoutMs: number;
}

/** The fields of a successful answer that the coordinator reads. */
interface Made {
  readonly sessionId: string;
  readonly clientId: string | undefined;
  readonly isAttached: boolean;
}

/**
 * Creates or attaches a session. A refusal of the daemon's is returned like a success: status and body are the client's.
 * @throws ApiError 400 for `cwd`, 503 of the total cap, 503 and 504 of the start, 507 when the session could not be stored (it is closed again).
 *   ClientGone when the client left; what was made for it is then undone.
 */
export async function createSessionForClient(
  deps: SessionDeps,
  context: RequestContext,
  body: JsonObject,
  clientHeaders: OutgoingHttpHeaders,
): Promise<DaemonAnswer> {
  const workspace = chosenWorkspace(deps.destination, context, body);
  refuseDrained(deps.destination, workspace, context.route.class);
  const isSingle = body.sessionId === undefined && (body.sessionScope ?? 'single') === 'single';
  if (isSingle) await wakeSlot(deps, workspace, context);
  const leave = await deps.admission.enter(workspace.id, { isSingle }, context.signal);
  try {
    return await callAndKeep(
      workspace,
      deps,
      context,
      '/session',
      { ...body, cwd: workspace.path },
      clientHeaders,
    );
  } finally {
    leave();
  }
}

/**
 * Loads, resumes or branches a session: in the workspace that `cwd` names, else where the session belongs, else in the
 * primary one. A session that rests is brought back first, so that its old client ids and cursors hold.
 * @throws ApiError as `createSession`, and 409 `session_workspace_conflict` when it is live in another workspace than `cwd`.
 */
export async function loadSessionForClient(
  deps: SessionDeps,
  context: RequestContext,
  sessionId: string,
  body: JsonObject,
  clientHeaders: OutgoingHttpHeaders,
): Promise<DaemonAnswer> {
  const { destination } = deps;
  const workspace = workspaceToLoadIn(destination, context, sessionId, body);
  refuseDrained(destination, workspace, context.route.class);
  const place = destination.index.find(sessionId);
  if (place !== undefined && place.state !== 'live')
    await destination.dormantSessions.wake(sessionId, context.signal);
  const isNew = place === undefined || BRANCH.test(context.route.path);
  const leave = isNew
    ? await deps.admission.enter(workspace.id, { isSingle: false }, context.signal)
    : () => undefined;
  try {
    const named = body.cwd === undefined ? body : { ...body, cwd: workspace.path };
    return await callAndKeep(workspace, deps, context, context.route.path, named, clientHeaders);
  } finally {
    leave();
  }
}

function workspaceToLoadIn(
  places: DestinationDeps,
  context: RequestContext,
  sessionId: string,
  body: JsonObject,
): WorkspaceKey {
  const place = places.index.find(sessionId);
  const named = body.cwd === undefined ? undefined : chosenWorkspace(places, context, body);
  if (named !== undefined) {
    const live = place?.state === 'live' ? places.book.byId(place.workspaceId) : undefined;
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
  const ownerId = places.index.ownerOf(sessionId);
  const owner = ownerId === undefined ? undefined : places.book.byId(ownerId);
  return owner ?? fenceOf(places, context.route) ?? primaryOf(places.book);
}

/** The slot's session may sleep: it is woken and attached to. One that cannot be woken leaves the slot to a fresh one. */
async function wakeSlot(deps: SessionDeps, workspace: WorkspaceKey, context: RequestContext): Promise<void> {
  const sleeper = deps.slotSleeper(workspace.id);
  if (sleeper === undefined) return;
  try {
    await deps.destination.dormantSessions.wake(sleeper, context.signal);
  } catch (error) {
    context.signal.throwIfAborted();
    deps.log.warn({ err: error, sessionId: sleeper }, 'the session of the single slot cannot be woken');
  }
}

async function callAndKeep(
  workspace: WorkspaceKey,
  deps: SessionDeps,
  context: RequestContext,
  path: string,
  body: JsonObject,
  clientHeaders: OutgoingHttpHeaders,
): Promise<DaemonAnswer> {
  const endpoint = await deps.fleet.ensureReady(workspace, context.signal);
  const answer = await deps.daemon.call(endpoint, {
    method: 'POST',
    path,
    headers: {
      ...clientHeaders,
      ...trustHeaders(endpoint.secret, context),
      'content-type': 'application/json',
    },
    body: Buffer.from(JSON.stringify(body)),
    signal: context.signal,
  });
  if (answer.status < 200 || answer.status > 299) return withFleetMismatch(deps.destination, answer, body);
  const shown = parsedObject(answer.body);
  const made = madeBy(shown);
  if (made === undefined) return answer;
  await keep(deps, context, endpoint, answer, shown, made);
  return answer;
}

function chosenWorkspace(places: DestinationDeps, context: RequestContext, body: JsonObject): WorkspaceKey {
  const { book } = places;
  const cwd = canonicalCwd(body.cwd);
  if (cwd === undefined) return workspaceOf(places, context.route);
  const forced = context.route.within === undefined ? undefined : workspaceOf(places, context.route);
  const found = forced === undefined ? book.open(cwd) : forced.path === cwd ? forced : undefined;
  if (found === undefined) throw mismatchError(book, String(body.cwd));
  return found;
}

/** Holds until the session is stored; on failure undoes it. */
async function keep(
  deps: SessionDeps,
  context: RequestContext,
  endpoint: Endpoint,
  answer: DaemonAnswer,
  shown: JsonObject,
  made: Made,
): Promise<void> {
  try {
    const seq = Number(answer.headers[FEED_SEQ_HEADER]);
    const isStored = Number.isSafeInteger(seq) && (await deps.fleet.stored(endpoint.incarnation, seq));
    if (!isStored) deps.recorder.recordAnswer(shownSession(deps.clock, endpoint, shown, made));
  } catch (error) {
    await undo(deps, context, endpoint, made, made.isAttached ? 'detach' : 'close');
    if (error instanceof ApiError) throw error;
    deps.log.error({ err: error, requestId: context.requestId }, 'a session could not be stored');
    throw fail('storage_unavailable', 'The session could not be stored, so it was closed again.');
  }
  if (!context.signal.aborted) return;
  // The daemon believes its answer delivered. Another client may have attached by now: detaching leaves it the session.
  await undo(deps, context, endpoint, made, made.clientId === undefined ? 'close' : 'detach');
  throw new ClientGone();
}

async function undo(
  deps: SessionDeps,
  context: RequestContext,
  endpoint: Endpoint,
  made: Made,
  how: 'close' | 'detach',
): Promise<void> {
  const controller = new AbortController();
  const deadline = deps.clock.after(deps.undoTimeoutMs, () =>
    controller.abort(new Error('the daemon did not answer in time')),
  );
  const path = `/session/${encodeURIComponent(made.sessionId)}`;
  try {
    await deps.daemon.call(endpoint, {
      method: how === 'close' ? 'DELETE' : 'POST',
      path: how === 'close' ? path : `${path}/detach`,
      headers: {
        ...trustHeaders(endpoint.secret, context),
        ...(made.clientId !== undefined && { [CLIENT_ID_HEADER]: made.clientId }),
      },
      signal: controller.signal,
    });
  } catch (error) {
    deps.log.warn({ err: error, sessionId: made.sessionId, how }, 'a session could not be undone');
  } finally {
    deadline.cancel();
  }
}

function madeBy(shown: JsonObject): Made | undefined {
  if (typeof shown.sessionId !== 'string') return undefined;
  const clientId = typeof shown.clientId === 'string' ? shown.clientId : undefined;
  return { sessionId: shown.sessionId, clientId, isAttached: shown.attached === true };
}

function shownSession(clock: Clock, endpoint: Endpoint, shown: JsonObject, made: Made): ShownSession {
  const nowMs = clock.nowMs();
  const createdAtMs = Date.parse(String(shown.createdAt));
  const clients =
    made.clientId === undefined ? [] : [{ clientId: made.clientId, count: 1, lastSeenAtMs: nowMs }];
  return {
    workspaceId: endpoint.workspaceId,
    incarnation: endpoint.incarnation,
    isAttached: made.isAttached,
    session: {
      sessionId: made.sessionId,
      workspaceCwd: String(shown.workspaceCwd),
      createdAtMs: Number.isNaN(createdAtMs) ? nowMs : createdAtMs,
      lastSeenAtMs: nowMs,
      clients,
      ...(typeof shown.sourceType === 'string' && { sourceType: shown.sourceType }),
      ...(typeof shown.sourceId === 'string' && { sourceId: shown.sourceId }),
      // The answer does not say; the feed's next snapshot does.
      isDefault: false,
      eventHead: 0,
    },
  };
}

/** A daemon knows only itself: its mismatch is reworded for the fleet. Every other refusal passes as it is. */
function withFleetMismatch(places: DestinationDeps, answer: DaemonAnswer, body: JsonObject): DaemonAnswer {
  if (answer.status !== 400 || parsedObject(answer.body).code !== 'workspace_mismatch') return answer;
  throw mismatchError(places.book, typeof body.cwd === 'string' ? body.cwd : '');
}

function parsedObject(bytes: Buffer): JsonObject {
  try {
    const parsed: unknown = JSON.parse(bytes.toString('utf8'));
    return typeof parsed === 'object' && parsed !== null ? (parsed as JsonObject) : {};
  } catch {
    // Not JSON: nothing that the coordinator could keep; the client gets it as it is.
    return {};
  }
}
