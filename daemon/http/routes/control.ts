// Handlers of the `/control` routes, which only the daemon's coordinator calls, with the secret of this incarnation.

import type { DaemonIdentity, ReleaseAnswer, RestoreRequest } from '../../contract/control.ts';
import { fail } from '../../contract/errors.ts';
import type { FeedClient } from '../../contract/feed.ts';
import { CONTRACT_VERSION } from '../../contract/handshake.ts';
import { isRecord } from '../../contract/json-record.ts';
import type { LiveSessions } from '../../sessions/live-sessions.ts';
import { type Handler, ok } from '../call.ts';
import type { RouteContext } from '../route-context.ts';

/** `GET /control/identity`: which incarnation and process answers, and whether the daemon is ending. */
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

/** `GET /control/feed`: writes the feed as the response, which stays open until the coordinator leaves or the feed ends. */
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

/** How long the answer to a release waits for event streams to end whose clients do not read. */
const RELEASE_WITHIN_MS = 2000;

/**
 * `POST /control/release`: closes the intake, so that the daemon takes no new work, and ends every event stream after its newest
 * event. With `onlyIfQuiet` it does nothing while there is work (a turn, a permission question, background work of the agent,
 * a session being opened), and answers `released: false`.
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

/** `POST /control/restore`: restores a session for the coordinator. Answers once the session is live and reported on the feed. */
export function restoreForCoordinator({ restores }: Pick<RouteContext, 'restores'>): Handler {
  return async ({ body }) => ok(await restores.forCoordinator(parseRestore(body)));
}

/**
 * Reads the body of `POST /control/restore`. Its sender speaks this contract version; the checks only keep a faulty coordinator
 * from doing harm.
 * @throws ApiError 400 without a valid session id, id floor or creation time. Other malformed fields are dropped.
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
