// What a create or an attach asks of a session besides itself: a model, an approval mode.
import type { Log } from './contract/log.ts';
import type { ApprovalMode } from './contract/wire.ts';
import type { CreateRequest } from './domain/create-request.ts';
import type { Session } from './session.ts';

/**
 * Applies what a create or an attach asks of a session besides itself. Never rejects: the bus tells of what was refused.
 * @returns whether the model was taken; undefined when none was asked for.
 */
export async function applyWishes(
  session: Session,
  { approvalMode, modelId }: Pick<CreateRequest, 'approvalMode' | 'modelId'>,
  log: Log,
  clientId?: string,
): Promise<boolean | undefined> {
  if (approvalMode !== undefined) await applyMode(session, approvalMode, log, clientId);
  return modelId === undefined ? undefined : applyModel(session, modelId, log, clientId);
}

async function applyModel(session: Session, modelId: string, log: Log, clientId?: string): Promise<boolean> {
  try {
    await session.sideChannel.switchModel(modelId, clientId);
    return true;
  } catch (error) {
    // The bus has told it; the session is kept on its old model.
    log.info({ err: error, sessionId: session.sessionId, modelId }, 'the agent rejected the model');
    return false;
  }
}

async function applyMode(session: Session, mode: ApprovalMode, log: Log, clientId?: string): Promise<void> {
  try {
    await session.sideChannel.switchMode({ mode, isPersisted: false }, clientId);
  } catch (error) {
    const { sessionId } = session;
    log.warn({ err: error, sessionId, mode }, 'the agent rejected the approval mode');
  }
}
