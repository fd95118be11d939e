// The routes that only the daemon's coordinator calls, on the incarnation's socket and with its secret.

import type { DaemonIdentity, ReleaseAnswer, RestoreRequest } from '../../contract/control.ts';
import { fail } from '../../contract/errors.ts';
import type { FeedClient } from '../../contract/feed.ts';
import { CONTRACT_VERSION } from '../../contract/handshake.ts';
import { isRecord } from '../../contract/json-record.ts';
import type { LiveSessions } from '../../sessions/live-sessions.ts';
import { type Handler, ok } from '../call.ts';
import type { RouteContext } from '../route-context.ts';

/** `GET /control/identity`. */
export function identity({
  self,
  sessions,
}: Pick<RouteContext, 'self'> & { readonly sessions: Pick<LiveSessions, 'intake'> }): Handler {
  return () => {
    const body: DaemonIdentity = {
      contract: CONTRACT_VERSION,
      incarnation: self.incarnation,
      pid: self.pid,
      startTime: self.startTime,
      version: self.version,
      ending: sessions.intake.isClosed,
    };
    return ok(body);
  };
}

/** `GET /control/feed`: the response stays open as long as the feed is followed. */
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

/** How long the answer waits for the ends of event streams whose clients do not read. */
const RELEASE_WITHIN_MS = 2000;

/**
 * `POST /control/release`: from now on the daemon takes no new work, and every event stream ends behind its last event. With
 * `onlyIfQuiet` the daemon refuses while there is work: a turn, a question, background work of the agent, a session being made.
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

/** `POST /control/restore`: answers when the session is live and has been reported to the coordinator. */
export function restoreForCoordinator({ restores }: Pick<RouteContext, 'restores'>): Handler {
  return async ({ body }) => ok(await restores.forCoordinator(parseRestore(body)));
}

/**
 * The sender is a coordinator of this contract; the check only keeps a faulty coordinator from doing harm.
 * @throws ApiError 400
 */
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
