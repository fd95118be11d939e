// Handlers that make a session with a history live: load answers with that history, resume without it, branch with a fork's.

import { FEED_SEQ_HEADER } from '../../contract/control.ts';
import { fail, failPlain } from '../../contract/errors.ts';
import type { JsonObject } from '../../contract/json-body.ts';
import { sessionKey } from '../../contract/wire.ts';
import { parseReplayQuery, parseRestoreBody } from '../../domain/restore-request.ts';
import type { RestoreAction } from '../../restore/intent.ts';
import type { Restored } from '../../restore/restores.ts';
import { askService } from '../../session/agent-calls.ts';
import { type Call, clientIdOf, type Handler } from '../call.ts';
import { requestedSession } from '../caller.ts';
import type { RouteContext } from '../route-context.ts';
import { checkWorkspace, createdBody } from './sessions.ts';

type RestoreNeeds = Pick<RouteContext, 'restores' | 'workspace' | 'log'>;

/** Longest name of a branch, in UTF-16 units; a longer name is cut. */
const MAX_NAME_CHARS = 200;

/**
 * `POST /session/:id/load`: makes the session live and answers with its history. The answer's arrays and `lastEventId` are of one
 * instant, so that a client that streams from `lastEventId` misses no event and gets none twice.
 */
export function sessionLoad(context: RestoreNeeds & Pick<RouteContext, 'clock'>): Handler {
  return async (call) => {
    const query = parseReplayQuery(call.body);
    const restored = await restore('load', call, context);
    const { past } = restored.session;
    const terminals = past.replay.terminals();
    return answer(restored, context, {
      ...past.replay.answer(query, context.clock.nowMs()),
      ...(terminals.length === 0 ? {} : { promptTerminals: terminals }),
    });
  };
}

/** `POST /session/:id/resume`: makes the session live, as `sessionLoad` does, but answers without the session's history. */
export function sessionResume(context: RestoreNeeds): Handler {
  return async (call) => answer(await restore('resume', call, context), context, {});
}

/** `POST /session/:id/branch`: lets the agent fork the session on disk, and loads the fork like any other session. */
export function sessionBranch(
  context: RestoreNeeds & Pick<RouteContext, 'sessions' | 'limits' | 'clock'>,
): Handler {
  return async (call) => {
    const clientId = clientIdOf(call);
    const params = parseBranch(call.body);
    const source = requestedSession(call, context.sessions);
    source.checkClient(clientId);
    const { sessionId } = source;
    if (!source.turns.isIdle)
      throw fail('session_busy', 'Cannot branch while a prompt is running', { sessionId });
    const timeoutMs = context.limits.sessionRestoreTimeoutMs;
    const fork = await askService(source, 'branch', { ...params, cwd: context.workspace }, timeoutMs);
    const { newSessionId, displayName } = fork;
    if (typeof newSessionId !== 'string' || newSessionId === '')
      throw fail('acp_channel_unavailable', 'The agent answered a branch without a session id');
    const intent = {
      sessionId: sessionKey(newSessionId),
      spelling: newSessionId,
      action: 'load',
      source: {},
      approvalMode: undefined,
      known: undefined,
    } as const;
    const restored = await context.restores.forClient(intent, undefined, call.hasLeft);
    const { past } = restored.session;
    const name = (of: unknown, id: string) => (typeof of === 'string' && of !== '' ? of : id.slice(0, 8));
    const made = answer(restored, context, {
      ...past.replay.answer(parseReplayQuery({}), context.clock.nowMs()),
      displayName: name(displayName, newSessionId),
      forkedFrom: { sessionId, displayName: name(source.metadata.current.displayName, sessionId) },
    });
    return { ...made, status: 201 };
  };
}

/** The parameters for the agent's `branch` service. @throws ApiError 400 when `atRecordId` is no text. */
function parseBranch({ name, atRecordId }: JsonObject): Readonly<Record<string, string>> {
  if (atRecordId !== undefined && typeof atRecordId !== 'string')
    throw failPlain(400, '`atRecordId` must be a string when it is given');
  const clean = typeof name === 'string' ? name.replaceAll(/\p{Cc}/gu, '').slice(0, MAX_NAME_CHARS) : '';
  return {
    ...(clean === '' ? {} : { name: clean }),
    ...(atRecordId === undefined ? {} : { atRecordId }),
  };
}

async function restore(action: RestoreAction, call: Call, context: RestoreNeeds): Promise<Restored> {
  const clientId = clientIdOf(call);
  checkWorkspace(call.body.cwd, context);
  const requested = parseRestoreBody(call.body);
  const sessionId = sessionKey(call.params.id ?? '');
  return context.restores.forClient(
    { sessionId, action, ...requested, known: undefined },
    clientId,
    call.hasLeft,
  );
}

function answer(restored: Restored, { workspace }: RestoreNeeds, replay: Readonly<Record<string, unknown>>) {
  const { session, state, damage, feedSeq } = restored;
  // The events in the answer must be on disk before a client gets them, like the events of a stream: this process may be killed.
  session.past.flush();
  return {
    status: 200,
    body: {
      ...createdBody(restored, workspace),
      state,
      ...replay,
      ...damage,
      lastEventId: session.bus.ring.head,
      eventEpoch: session.bus.epoch,
    },
    headers: { [FEED_SEQ_HEADER]: String(feedSeq) },
  };
}
