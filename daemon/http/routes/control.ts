// The routes between a daemon and its coordinator. They exist only on the incarnation's socket, behind its secret.

import { fail } from '../../contract/errors.ts';
import type { DaemonIdentity, FeedClient, RestoreRequest } from '../../contract/feed.ts';
import { CONTRACT_VERSION } from '../../contract/handshake.ts';
import { isRecord } from '../../domain/records.ts';
import { type Handler, ok } from '../call.ts';
import type { RouteContext } from '../routes.ts';

export function identity({ self, version }: RouteContext): Handler {
  return () => {
    const body: DaemonIdentity = {
      contract: CONTRACT_VERSION,
      incarnation: self.incarnation,
      pid: self.pid,
      startTime: self.startTime,
      version,
      ending: self.isEnding(),
    };
    return ok(body);
  };
}

export function feed({ feed: source }: RouteContext): Handler {
  return ({ res }) => {
    res.writeHead(200, { 'Content-Type': 'application/x-ndjson', 'Cache-Control': 'no-store' });
    res.flushHeaders();
    source.follow(res);
    return 'streaming';
  };
}

/** `POST /control/restore`: the answer is sent when the session is live and the coordinator told. */
export function restoreForCoordinator({ restores }: RouteContext): Handler {
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
