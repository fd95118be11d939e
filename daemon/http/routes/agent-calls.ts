// Handlers of the routes that the agent of a live session answers: status reads, and small services such as a recap.
import { fail, failPlain } from '../../contract/errors.ts';
import {
  askService,
  readCommands,
  readRewindSnapshots,
  readSessionContext,
  readStatus,
  type StatusRead,
  setConfigOption,
} from '../../session/agent-calls.ts';
import { type Handler, ok } from '../call.ts';
import { callerOf, requestedSession } from '../caller.ts';
import type { RouteContext } from '../route-context.ts';

type AgentCallNeeds = Pick<RouteContext, 'sessions' | 'limits'>;

/** Longest question for `POST /session/:id/btw`, in UTF-16 units; the qwen agent takes no longer one. */
const MAX_QUESTION_CHARS = 4096;
/** Longest language code or name, in UTF-16 units. */
const MAX_LANGUAGE_CHARS = 64;

/** `GET /session/:id/context`: the session's model, mode and options. */
export function sessionContext({ sessions, limits }: AgentCallNeeds): Handler {
  return async (call) => ok(await readSessionContext(requestedSession(call, sessions), limits));
}

/** `GET /session/:id/supported-commands`: the commands that the agent takes. */
export function supportedCommands({ sessions, limits }: AgentCallNeeds): Handler {
  return async (call) => ok(await readCommands(requestedSession(call, sessions), limits));
}

/** `GET /session/:id/context-usage`: how much of the model's context the session uses; `detail=true` asks the agent for more. */
export function contextUsage({ sessions, limits }: AgentCallNeeds): Handler {
  return async (call) => {
    const detail = call.query.get('detail') === 'true' ? { detail: true } : {};
    return ok(await readStatus(requestedSession(call, sessions), 'context_usage', detail, limits));
  };
}

/** The maker of the handler of a status read without parameters, such as `GET /session/:id/stats`. */
export function statusRead(read: StatusRead): (context: AgentCallNeeds) => Handler {
  return ({ sessions, limits }) =>
    async (call) =>
      ok(await readStatus(requestedSession(call, sessions), read, {}, limits));
}

/** `GET /session/:id/rewind/snapshots`: the points that `POST /session/:id/rewind` can go back to. */
export function rewindSnapshots({ sessions, limits }: AgentCallNeeds): Handler {
  return async (call) => ok(await readRewindSnapshots(requestedSession(call, sessions), limits));
}

/** `POST /session/:id/config-option`: sets the reasoning effort, the one option that clients may set here. */
export function configOption({ sessions, limits }: AgentCallNeeds): Handler {
  return async (call) => {
    const { configId, value, persist } = call.body;
    if (configId !== 'reasoning_effort') throw failPlain(400, '`configId` must be "reasoning_effort"');
    if (typeof value !== 'string' || value === '') throw failPlain(400, '`value` must be a non-empty string');
    const isPersisted = optionalFlag(persist, 'persist') === true;
    const { session } = callerOf(call, sessions);
    return ok(await setConfigOption(session, { configId, value, isPersisted }, limits));
  };
}

/** `POST /session/:id/language`: changes the agent's language, and publishes `language_changed` to the session's clients. */
export function language({ sessions, limits }: AgentCallNeeds): Handler {
  return async (call) => {
    const { language: asked, syncOutputLanguage } = call.body;
    if (typeof asked !== 'string' || asked.trim() === '' || asked.length > MAX_LANGUAGE_CHARS)
      throw failPlain(400, '`language` must be a language code');
    const params = {
      language: asked,
      syncOutputLanguage: optionalFlag(syncOutputLanguage, 'syncOutputLanguage') === true,
    };
    const { session, clientId } = callerOf(call, sessions);
    const answer = await askService(session, 'language', params, limits.initializeTimeoutMs);
    const changed = {
      language: typeof answer.language === 'string' ? answer.language : asked,
      outputLanguage: answer.outputLanguage ?? null,
      refreshed: answer.refreshed === true,
    };
    const data = { sessionId: session.sessionId, ...changed };
    session.bus.publish('language_changed', data, { originatorClientId: clientId });
    return ok(changed);
  };
}

/** `POST /session/:id/recap`: the agent's summary of the session; null when the agent gives none. */
export function recap({ sessions, limits }: AgentCallNeeds): Handler {
  return async (call) => {
    const { session } = callerOf(call, sessions);
    const { recap: text } = await askService(session, 'recap', {}, limits.agentAnswerTimeoutMs);
    return ok({ sessionId: session.sessionId, recap: text ?? null });
  };
}

/** `POST /session/:id/btw`: asks the agent a side question, which does not become part of the conversation. */
export function sideQuestion({ sessions, limits }: AgentCallNeeds): Handler {
  return async (call) => {
    const { question } = call.body;
    if (typeof question !== 'string' || question.trim() === '' || question.length > MAX_QUESTION_CHARS)
      throw failPlain(
        400,
        `\`question\` must be a non-blank string of at most ${MAX_QUESTION_CHARS} characters`,
      );
    const { session } = callerOf(call, sessions);
    const params = { question: question.trim() };
    const { answer } = await askService(session, 'btw', params, limits.agentAnswerTimeoutMs);
    return ok({ sessionId: session.sessionId, answer: answer ?? null });
  };
}

/** `POST /session/:id/continue`: resumes the last turn if the agent says that it was interrupted, else `accepted: false`. */
export function continueTurn({ sessions, limits }: AgentCallNeeds): Handler {
  return async (call) => {
    const { session, clientId } = callerOf(call, sessions);
    sessions.intake.check();
    const decision = await askService(session, 'continue', {}, limits.initializeTimeoutMs);
    if (decision.accepted !== true) return ok({ ...decision, accepted: false });
    // The agent has resumed the turn already: an intake that was only paused meanwhile must not refuse the request now.
    sessions.intake.checkNotClosed();
    // While the agent decided, another client may have sent a prompt: the conversation then goes on with that prompt.
    if (session.hasEnded || !session.turns.isIdle) return ok({ ...decision, accepted: false });
    return ok({ ...decision, ...session.turns.continueLast(clientId) });
  };
}

/** `POST /session/:id/rewind`: takes the session back to an earlier prompt, and publishes `session_rewound` to its clients. */
export function rewind({ sessions, limits }: AgentCallNeeds): Handler {
  return async (call) => {
    const { promptId, rewindFiles } = call.body;
    if (typeof promptId !== 'string' || promptId === '')
      throw failPlain(400, '`promptId` must be a non-empty string');
    const areFilesRewound = optionalFlag(rewindFiles, 'rewindFiles') !== false;
    const { session, clientId } = callerOf(call, sessions);
    if (!session.turns.isIdle)
      throw fail('session_busy', 'Cannot rewind while a prompt is running', { sessionId: session.sessionId });
    const params = { promptId, rewindFiles: areFilesRewound };
    const answer = await askService(session, 'rewind', params, limits.agentAnswerTimeoutMs);
    const done = {
      targetTurnIndex: typeof answer.targetTurnIndex === 'number' ? answer.targetTurnIndex : 0,
      filesChanged: listOf(answer.filesChanged),
      filesFailed: listOf(answer.filesFailed),
    };
    const data = { sessionId: session.sessionId, promptId, ...done };
    session.bus.publish('session_rewound', data, { originatorClientId: clientId });
    return ok({ rewound: done.filesFailed.length === 0, ...done });
  };
}

function optionalFlag(value: unknown, name: string): boolean | undefined {
  if (value === undefined || typeof value === 'boolean') return value;
  throw failPlain(400, `\`${name}\` must be true or false when it is given`);
}

function listOf(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}
