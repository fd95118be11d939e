// Handlers for a live session's turns: prompts and their queue, cancel, mid-turn messages, and permission votes.

import { FEED_SEQ_HEADER } from '../../contract/control.ts';
import { type PromptEntry, promptText } from '../../domain/prompt-queue.ts';
import { unknownRequest } from '../../session/permissions.ts';
import { clientIdOf, type Handler, NO_CONTENT, ok } from '../call.ts';
import { callerOf, requestedSession } from '../caller.ts';
import type { RouteContext } from '../route-context.ts';

/** `POST /session/:id/prompt`: accepts a prompt, and answers with its id without waiting for its turn. */
export function submitPrompt({ sessions, feed }: Pick<RouteContext, 'sessions' | 'feed'>): Handler {
  return (call) => {
    const { session, clientId } = callerOf(call, sessions);
    sessions.intake.check();
    const accepted = session.turns.submit(call.body, clientId);
    // The feed has the record about this prompt by now, under this `seq` or a lower one, as FEED_SEQ_HEADER promises.
    return { status: 202, body: accepted, headers: { [FEED_SEQ_HEADER]: String(feed.seq) } };
  };
}

/** `POST /session/:id/cancel`: cancels the running turn. */
export function cancel({ sessions }: Pick<RouteContext, 'sessions'>): Handler {
  return async (call) => {
    const { session, clientId } = callerOf(call, sessions);
    await session.turns.cancel(clientId);
    return NO_CONTENT;
  };
}

/** `GET /session/:id/pending-prompts`: the running prompt and the queued ones. */
export function pendingPrompts({ sessions }: Pick<RouteContext, 'sessions'>): Handler {
  return (call) => {
    const { session } = callerOf(call, sessions);
    const { pending } = session.turns;
    return ok({ pendingPrompts: pending.map(({ entry, state }) => pendingPrompt(entry, state)) });
  };
}

function pendingPrompt(entry: PromptEntry, state: 'running' | 'queued') {
  return {
    promptId: entry.promptId,
    text: promptText(entry.content),
    content: entry.content,
    queuedAt: entry.queuedAtMs,
    state,
    ...(entry.clientId === undefined ? {} : { originatorClientId: entry.clientId }),
  };
}

/** `DELETE /session/:id/pending-prompts/:promptId`: removes a queued prompt or mid-turn message; cancels a running prompt. */
export function removePrompt({ sessions }: Pick<RouteContext, 'sessions'>): Handler {
  return (call) => {
    const { session, clientId } = callerOf(call, sessions);
    return ok({ removed: session.turns.remove(call.params.promptId ?? '', clientId) });
  };
}

/** `POST /session/:id/permission/:requestId`: a client's vote on a permission question of this session. */
export function voteInSession({ sessions }: Pick<RouteContext, 'sessions'>): Handler {
  return (call) => {
    const voter = { clientId: clientIdOf(call), peer: call.peer };
    const session = requestedSession(call, sessions);
    session.permissions.vote(call.params.requestId ?? '', call.body, voter);
    return ok({});
  };
}

/** `POST /permission/:requestId`: as `voteInSession`, for the session whose permission question has this id. */
export function vote({ sessions }: Pick<RouteContext, 'sessions'>): Handler {
  return (call) => {
    const voter = { clientId: clientIdOf(call), peer: call.peer };
    const requestId = call.params.requestId ?? '';
    const session = sessions.all().find((candidate) => candidate.permissions.knows(requestId));
    if (session === undefined) throw unknownRequest(requestId);
    session.permissions.vote(requestId, call.body, voter);
    return ok({});
  };
}

/** `POST /session/:id/mid-turn-message`: accepts a message for the agent while a turn runs. */
export function midTurnMessage({ sessions }: Pick<RouteContext, 'sessions'>): Handler {
  return (call) => {
    const { session, clientId } = callerOf(call, sessions);
    return ok(session.turns.addMidTurn(call.body.message, clientId));
  };
}
