// A live session as the status route and listings show it.
import type { Question } from './domain/permission-book.ts';
import type { Session } from './session.ts';

export function summaryOf(session: Session): Record<string, unknown> {
  const { turns } = session;
  const questions = session.permissions.open();
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
    hasRunningBackgroundTasks: session.hasAgentWork,
    isWaitingForPermission: questions.length > 0,
    isWaitingForUserQuestion: false,
    pendingInteractionCount: questions.length,
    hasTurnError: turns.lastError !== undefined,
    ...(turns.lastError === undefined ? {} : { turnError: turns.lastError }),
    pendingInteractions: questions.map(interactionOf),
  };
}

function interactionOf({ requestId, createdAtMs, toolCall, options }: Question) {
  return {
    requestId,
    kind: 'permission',
    createdAt: new Date(createdAtMs).toISOString(),
    action: actionOf(toolCall),
    options: options.map(({ optionId, name, kind }) => ({ optionId, label: name, kind })),
  };
}

/** The part of a tool call that tells a person what is asked. */
function actionOf(toolCall: Readonly<Record<string, unknown>>): Record<string, unknown> {
  const { kind: type, title, content, locations, rawInput: input } = toolCall;
  const entries = Object.entries({ type, title, content, locations, input });
  return Object.fromEntries(entries.filter(([, value]) => value !== undefined));
}
