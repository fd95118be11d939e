// The summary of a live session, for the session's status route and the list of sessions.

import { asRecord, isRecord } from '../contract/json-record.ts';
import type { Question } from '../domain/permission-book.ts';
import type { Session } from './session.ts';

export function summaryOf(session: Session): Record<string, unknown> {
  const { turns } = session;
  const interactions = session.permissions.open().map(interactionOf);
  const isWaitingFor = (kind: InteractionKind) => interactions.some((one) => one.kind === kind);
  return {
    sessionId: session.sessionId,
    workspaceCwd: session.workspaceCwd,
    createdAt: new Date(session.createdAtMs).toISOString(),
    updatedAt: new Date(session.lastActivityAtMs).toISOString(),
    ...session.metadata.current,
    ...session.source,
    ...session.checkout,
    clientCount: session.clients.size,
    hasActivePrompt: turns.running !== undefined,
    activeWorkState: turns.isIdle ? 'idle' : 'active',
    hasRunningBackgroundTasks: session.hasBackgroundWork,
    isWaitingForPermission: isWaitingFor('permission'),
    isWaitingForUserQuestion: isWaitingFor('user_question'),
    pendingInteractionCount: interactions.length,
    hasTurnError: turns.lastError !== undefined,
    ...(turns.lastError === undefined ? {} : { turnError: turns.lastError }),
    pendingInteractions: interactions,
  };
}

/** Whether the agent asks for a permission, or asks the person a question. */
type InteractionKind = 'permission' | 'user_question';

function interactionOf({ requestId, createdAtMs, toolCall, options }: Question) {
  const kind: InteractionKind =
    asRecord(toolCall._meta).qwenInteractionKind === 'user_question' ? 'user_question' : 'permission';
  return {
    requestId,
    kind,
    createdAt: new Date(createdAtMs).toISOString(),
    ...(kind === 'permission' ? { action: actionOf(toolCall) } : questionsOf(toolCall)),
    options: options.map(({ optionId, name, kind }) => ({ optionId, label: name, kind })),
  };
}

/** The questions that the agent asks a person; each answer comes back under the `answerKey` of its question. */
function questionsOf({ title, rawInput, _meta }: Question['toolCall']) {
  const questions = [asRecord(_meta).qwenQuestions, asRecord(rawInput).questions].find(Array.isArray) ?? [];
  return {
    ...(typeof title === 'string' ? { title } : {}),
    questions: questions.flatMap((question: unknown, index) =>
      isRecord(question) ? [{ ...question, answerKey: String(index) }] : [],
    ),
  };
}

/** The fields of a tool call from which a person sees what the permission is for. */
function actionOf(toolCall: Readonly<Record<string, unknown>>): Record<string, unknown> {
  const { kind: type, title, content, locations, rawInput: input } = toolCall;
  const entries = Object.entries({ type, title, content, locations, input });
  return Object.fromEntries(entries.filter(([, value]) => value !== undefined));
}
