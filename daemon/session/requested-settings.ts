// Applies the settings that a request for a session may name along with it: a model, an approval mode.

import { MODE_METHOD } from '../agent/approval-modes.ts';
import { channelFailure } from '../agent/failures.ts';
import type { Log } from '../contract/log.ts';
import type { ApprovalMode } from '../contract/wire.ts';
import type { CreateRequest } from '../domain/create-request.ts';
import type { Session } from './session.ts';

export type RequestedSettings = Pick<CreateRequest, 'approvalMode' | 'modelId'>;

/** Thrown when the agent refused a setting that a create asked for; the session that was made for the create is closed again. */
export class RequestedSettingRefused extends Error {
  /** The error with which the create is to be answered. */
  readonly refusal: unknown;

  constructor(refusal: unknown) {
    super('the settings that a new session was requested with were refused', { cause: refusal });
    this.refusal = refusal;
  }
}

/**
 * Applies the requested settings to a session. A refused mode is an error, because a client relies on its mode before the first
 * prompt; a refused model is only published on the bus.
 * @returns whether the agent took the model; undefined when the request named none.
 * @throws ApiError: why the mode was refused. The model is not applied then.
 */
export async function applyRequestedSettings(
  session: Session,
  { approvalMode, modelId }: RequestedSettings,
  log: Log,
  clientId?: string,
): Promise<boolean | undefined> {
  if (approvalMode !== undefined) await applyMode(session, approvalMode, clientId);
  return modelId === undefined ? undefined : applyModel(session, modelId, log, clientId);
}

async function applyModel(session: Session, modelId: string, log: Log, clientId?: string): Promise<boolean> {
  try {
    await session.settings.switchModel(modelId, clientId);
    return true;
  } catch (error) {
    // `switchModel` has published the failure on the bus; the session stays on its old model.
    log.info({ err: error, sessionId: session.sessionId, modelId }, 'the agent rejected the model');
    return false;
  }
}

async function applyMode(session: Session, mode: ApprovalMode, clientId?: string): Promise<void> {
  try {
    await session.settings.switchMode({ mode, isPersisted: false }, clientId);
  } catch (error) {
    throw channelFailure(error, MODE_METHOD);
  }
}
