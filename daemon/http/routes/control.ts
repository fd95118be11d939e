// The routes between a daemon and its coordinator. They exist only on the incarnation's socket, behind its secret.

import type { DaemonIdentity, ReleaseAnswer, RestoreRequest } from '../../contract/control.ts';
import { fail } from '../../contract/errors.ts';
import type { FeedClient } from '../../contract/feed.ts';
import { CONTRACT_VERSION } from '../../contract/handshake.ts';
import { isRecord } from '../../contract/json-record.ts';
import type { LiveSessions } from '../../sessions/live-sessions.ts';
import { type Handler, ok } from '../call.ts';
import type { RouteContext } from '../route-context.ts';

export function identity({
  self,
  sessions,
  version,
}: Pick<RouteContext, 'self' | 'version'> & { readonly sessions: Pick<LiveSessions, 'intake'> }): Handler {
  return () => {
    const body: DaemonIdentity = {
      contract: CONTRACT_VERSION,
      incarnation: self.incarnation,
      pid: self.pid,
      startTime: self.startTime,
      version,
      ending: sessions.intake.isClosed,
    };
    return ok(body);
  };
}

export function feed({ feed: source }: Pick<RouteContext, 'feed'>): Handler {
  return ({ res }) => {
    res.writeHead(200, { 'Content-Type': 'application/x-ndjson', 'Cache-Control': 'no-store' });
    res.flushHeaders();
    source.follow(res);
    return 'streaming';
  };
}

interface ReleaseNeeds extends Pick<RouteContext, 'streams' | 'clock'> {
  readonly sessions: Pick<LiveSessions, 'intake' | 'isQuiet'>;
}

/** How long a client that does not read may hold back the end of the streams. */
const RELEASE_WITHIN_MS = 2000;

/**
 * `POST /control/release`: no new work from now on, and every event stream ends plainly behind its last event. With
 * `onlyIfQuiet` nothing happens while there is work: a turn, a question, what the agent holds, a session on its way.
 */
export function release({ sessions, streams, clock }: ReleaseNeeds): Handler {
  return async ({ body }) => {
    const answer = (isReleased: boolean): ReleaseAnswer => ({ released: isReleased });
    if (body.onlyIfQuiet === true && !sessions.isQuiet) return ok(answer(false));
    sessions.intake.close();
    await streams.endAll(clock, RELEASE_WITHIN_MS);
    return ok(answer(true));
  };
}

/** `POST /control/restore`: the answer is sent when the session is live and the coordinator told. */
export function restoreForCoordinator({ restores }: Pick<RouteContext, 'restores'>): Handler {
  return async ({ body }) => ok(await restores.forCoordinator(parseRestore(body)));
}

/** The sender is a coordinator of this contract; the check only keeps a broken one from doing harm. @throws ApiError 400 */
function parseRestore(body: Readonly<Record<string, unknown>>): RestoreRequest {
  const { sessionId, idFloor, clients, isDefault, createdAtMs, displayName, lostPrompts } = body;
  if (typeof sessionId !== 'string' || !isCount(idFloor) || !isCount(createdAtMs))
    throw fail('invalid_request', 'A restore needs `sessionId`, `idFloor` and `createdAtMs`');
  const { sourceType, sourceId } = body;
  return {
    sessionId,
    idFloor,
    createdAtMs,
    clients: Array.isArray(clients) ? clients.filter(isFeedClient) : [],
    isDefault: isDefault === true,
    lostPrompts: Array.isArray(lostPrompts) ? lostPrompts.filter((id) => typeof id === 'string') : [],
    ...(typeof displayName === 'string' ? { displayName } : {}),
    ...(typeof sourceType === 'string' ? { sourceType } : {}),
    ...(typeof sourceId === 'string' ? { sourceId } : {}),
  };
}

function isFeedClient(value: unknown): value is FeedClient {
  return (
    isRecord(value) &&
    typeof value.clientId === 'string' &&
    isCount(value.count) &&
    value.count > 0 &&
    isCount(value.lastSeenAtMs)
  );
}

function isCount(value: unknown): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0;
}
