// Prompts, their queue, cancel, and permission votes.

import { FEED_SEQ_HEADER } from '../../contract/control.ts';
import { type PromptEntry, promptText } from '../../domain/prompt-queue.ts';
import { unknownRequest } from '../../session/permissions.ts';
import { clientIdOf, type Handler, NO_CONTENT, ok } from '../call.ts';
import { callerOf, requestedSession } from '../caller.ts';
import type { RouteContext } from '../route-context.ts';

/** `POST /session/:id/prompt`. */
export function submitPrompt({ sessions, feed }: Pick<RouteContext, 'sessions' | 'feed'>): Handler {
  return (call) => {
    const { session, clientId } = callerOf(call, sessions);
    sessions.intake.check();
    const accepted = session.turns.submit(call.body, clientId);
    // The prompt's own feed record has been reported by now, with this `seq` or a lower one.
    return { status: 202, body: accepted, headers: { [FEED_SEQ_HEADER]: String(feed.seq) } };
  };
}

/** `POST /session/:id/cancel`. */
export function cancel({ sessions }: Pick<RouteContext, 'sessions'>): Handler {
  return async (call) => {
    const { session, clientId } = callerOf(call, sessions);
    await session.turns.cancel(clientId);
    return NO_CONTENT;
  };
}

/** `GET /session/:id/pending-prompts`. */
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

/** `DELETE /session/:id/pending-prompts/:promptId`. */
export function removePrompt({ sessions }: Pick<RouteContext, 'sessions'>): Handler {
  return (call) => {
    const { session, clientId } = callerOf(call, sessions);
    return ok({ removed: session.turns.remove(call.params.promptId ?? '', clientId) });
  };
}

/** `POST /session/:id/permission/:requestId`. */
export function voteInSession({ sessions }: Pick<RouteContext, 'sessions'>): Handler {
  return (call) => {
    const voter = { clientId: clientIdOf(call), peer: call.peer };
    const session = requestedSession(call, sessions);
    session.permissions.vote(call.params.requestId ?? '', call.body, voter);
    return ok({});
  };
}

/** `POST /permission/:requestId`: the session is the one in which the question is open. */
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

/** `POST /session/:id/mid-turn-message`. */
export function midTurnMessage({ sessions }: Pick<RouteContext, 'sessions'>): Handler {
  return (call) => {
    const { session, clientId } = callerOf(call, sessions);
    return ok(session.turns.addMidTurn(call.body.message, clientId));
  };
}
