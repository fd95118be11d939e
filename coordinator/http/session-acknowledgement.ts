// Sends a daemon a request that makes a session live, and keeps the daemon's answer back until the session is stored, so that no
// acknowledged session is lost. A session that could not be stored, or whose client has left, is undone.
import type { Clock } from '../../daemon/contract/clock.ts';
import { FEED_SEQ_HEADER } from '../../daemon/contract/control.ts';
import { ApiError, fail } from '../../daemon/contract/errors.ts';
import type { JsonObject } from '../../daemon/contract/json-body.ts';
import type { Log } from '../../daemon/contract/log.ts';
import { CLIENT_ID_HEADER } from '../../daemon/contract/wire.ts';
import type { Fleet, WorkspaceKey } from '../supervise/fleet.ts';
import type { AnsweredSession } from '../supervise/records/answer-recorder.ts';
import type { DaemonAnswer, DaemonClient } from '../upstream/daemon-client.ts';
import type { Endpoint } from '../upstream/endpoint.ts';
import { trustHeaders } from '../upstream/trust-headers.ts';
import { type DaemonPost, postToDaemon } from './daemon-post.ts';
import { ClientGone, type RequestContext } from './request-context.ts';

export interface AcknowledgementDeps {
  readonly fleet: Pick<Fleet, 'ensureReady' | 'stored'>;
  readonly client: DaemonClient;
  /** Stores the session from a daemon's answer, when the feed is down and did not report it. @throws when the store refuses. */
  readonly recordAnswer: (shown: AnsweredSession) => void;
  readonly clock: Clock;
  readonly log: Log;
  /** Longest wait for a daemon to close a session, or detach its client, when the session could not be stored. */
  readonly undoTimeoutMs: number;
}

/** A session that a daemon has just made live for a client. */
interface LiveAnswer {
  readonly endpoint: Endpoint;
  readonly context: RequestContext;
  readonly sessionId: string;
  /** The id under which the daemon registered the client. */
  readonly clientId: string | undefined;
  /** Whether the session was live before, so that the daemon only added the client to it. */
  readonly isAttached: boolean;
  /** The parsed body of the daemon's answer. */
  readonly shown: JsonObject;
  /** Number of the feed record that reports the session; NaN when the answer names none. */
  readonly feedSeq: number;
}

/**
 * Sends `post` to the workspace's daemon, which is started if need be.
 * @returns the daemon's answer; if it has made a session live, only once that session is stored.
 * @throws ApiError of the start (503, 504), 503 when the daemon does not answer, 507 when the session could not be stored (it
 *   is closed again, or the client detached from it). ClientGone when the client left; the session is then undone too.
 */
export async function postUntilStored(
  deps: AcknowledgementDeps,
  workspace: WorkspaceKey,
  post: DaemonPost,
): Promise<DaemonAnswer> {
  const { context } = post;
  const endpoint = await deps.fleet.ensureReady(workspace, context.signal);
  const answer = await postToDaemon(deps.client, endpoint, post);
  if (answer.status < 200 || answer.status > 299) return answer;
  const shown = shownBy(answer);
  if (typeof shown.sessionId !== 'string') return answer;
  await keep(deps, {
    endpoint,
    context,
    sessionId: shown.sessionId,
    clientId: typeof shown.clientId === 'string' ? shown.clientId : undefined,
    isAttached: shown.attached === true,
    shown,
    feedSeq: Number(answer.headers[FEED_SEQ_HEADER]),
  });
  return answer;
}

/** The JSON object in the body of a daemon's answer; `{}` for any other body, which shows no session to store. */
export function shownBy({ body }: DaemonAnswer): JsonObject {
  try {
    const parsed: unknown = JSON.parse(body.toString('utf8'));
    return typeof parsed === 'object' && parsed !== null ? (parsed as JsonObject) : {};
  } catch {
    // Not JSON: the client gets the body as it is.
    return {};
  }
}

/** Resolves when the session is stored and its client is still there; otherwise undoes the session and throws. */
async function keep(deps: AcknowledgementDeps, answer: LiveAnswer): Promise<void> {
  const { endpoint, context, clientId, isAttached, feedSeq } = answer;
  try {
    const isStored =
      Number.isSafeInteger(feedSeq) && (await deps.fleet.stored(endpoint.incarnation, feedSeq));
    if (!isStored) deps.recordAnswer(answeredSession(deps.clock.nowMs(), answer));
  } catch (error) {
    await undo(deps, answer, isAttached ? 'detach' : 'close');
    if (error instanceof ApiError) throw error;
    deps.log.error({ err: error, requestId: context.requestId }, 'a session could not be stored');
    throw fail('storage_unavailable', 'The session could not be stored, so it was closed again.');
  }
  if (!context.signal.aborted) return;
  // The daemon takes its answer for delivered. Only this client is detached, because another client may have attached meanwhile.
  await undo(deps, answer, clientId === undefined ? 'close' : 'detach');
  throw new ClientGone();
}

/** Has the daemon close the session, or detach the client from it. Never rejects: a failure is logged. */
async function undo(
  deps: AcknowledgementDeps,
  { endpoint, context, sessionId, clientId }: LiveAnswer,
  how: 'close' | 'detach',
): Promise<void> {
  const controller = new AbortController();
  const deadline = deps.clock.after(deps.undoTimeoutMs, () =>
    controller.abort(new Error('the daemon did not answer in time')),
  );
  const path = `/session/${encodeURIComponent(sessionId)}`;
  try {
    await deps.client.call(endpoint, {
      method: how === 'close' ? 'DELETE' : 'POST',
      path: how === 'close' ? path : `${path}/detach`,
      headers: {
        ...trustHeaders(endpoint.secret, context),
        ...(clientId !== undefined && { [CLIENT_ID_HEADER]: clientId }),
      },
      signal: controller.signal,
    });
  } catch (error) {
    deps.log.warn({ err: error, sessionId, how }, 'a session could not be undone');
  } finally {
    deadline.cancel();
  }
}

function answeredSession(nowMs: number, { endpoint, shown, ...made }: LiveAnswer): AnsweredSession {
  const { sessionId, clientId, isAttached } = made;
  const createdAtMs = Date.parse(String(shown.createdAt));
  return {
    workspaceId: endpoint.workspaceId,
    incarnation: endpoint.incarnation,
    isAttached,
    session: {
      sessionId,
      workspaceCwd: String(shown.workspaceCwd),
      createdAtMs: Number.isNaN(createdAtMs) ? nowMs : createdAtMs,
      lastSeenAtMs: nowMs,
      clients: clientId === undefined ? [] : [{ clientId, count: 1, lastSeenAtMs: nowMs }],
      ...(typeof shown.sourceType === 'string' && { sourceType: shown.sourceType }),
      ...(typeof shown.sourceId === 'string' && { sourceId: shown.sourceId }),
      // The daemon's answer does not say whether the session has the workspace's slot; the feed's next snapshot does.
      isDefault: false,
      eventHead: 0,
    },
  };
}
