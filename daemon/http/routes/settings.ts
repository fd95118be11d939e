// Handlers with which clients change a live session's metadata, model and approval mode.

import { fail, failPlain } from '../../contract/errors.ts';
import type { JsonObject } from '../../contract/json-body.ts';
import { APPROVAL_MODES, type ApprovalMode, isUuid } from '../../contract/wire.ts';
import { parseMetadataPatch } from '../../domain/metadata.ts';
import { approvalMode } from '../../domain/setting-values.ts';
import { requestMode, requestModel } from '../../session/agent-calls.ts';
import type { ModeRequest } from '../../session/approval-mode.ts';
import { clientIdOf, type Handler, ok } from '../call.ts';
import type { RouteContext } from '../route-context.ts';

/** `PATCH /session/:id/metadata`: changes the name or the pull request of a live session. */
export function patchMetadata({ sessions }: Pick<RouteContext, 'sessions'>): Handler {
  return (call) => {
    const clientId = clientIdOf(call);
    const id = call.params.id ?? '';
    if (!isUuid(id)) throw fail('invalid_session_id', 'The session id must be a UUID here');
    const patch = parseMetadataPatch(call.body);
    const session = sessions.get(id);
    session.checkClient(clientId);
    return ok(sessions.patchMetadata(session, patch, clientId));
  };
}

/** `POST /session/:id/model`: switches the model, and answers as the agent does. */
export function switchModel({ sessions }: Pick<RouteContext, 'sessions'>): Handler {
  return async (call) => {
    const clientId = clientIdOf(call);
    const { modelId } = call.body;
    if (typeof modelId !== 'string' || modelId === '')
      throw failPlain(400, '`modelId` must be a non-empty string');
    const session = sessions.get(call.params.id ?? '');
    session.checkClient(clientId);
    return ok(await requestModel(session, modelId, clientId));
  };
}

/**
 * `POST /session/:id/approval-mode`: changes the approval mode. If the mode became the workspace's default, the other live
 * sessions change to this mode too, and each publishes the change on its own bus.
 */
export function changeApprovalMode({ sessions }: Pick<RouteContext, 'sessions'>): Handler {
  return async (call) => {
    const clientId = clientIdOf(call);
    const request = parseModeRequest(call.body);
    const session = sessions.get(call.params.id ?? '');
    session.checkClient(clientId);
    const answer = await requestMode(session, request, clientId);
    if (answer.persisted && request.planMode === undefined)
      // Not awaited, so that a slow agent does not delay the answer: each session publishes the mode once its agent has taken it.
      for (const other of sessions.all())
        if (other !== session) void other.settings.followDefault(answer.mode, clientId);
    return ok(answer);
  };
}

/** Reads the body of `POST /session/:id/approval-mode`. @throws ApiError 400 when a field of the body is malformed. */
function parseModeRequest({ mode: asked, persist, planMode }: JsonObject): ModeRequest {
  const mode: ApprovalMode | undefined = approvalMode(asked);
  if (mode === undefined)
    throw fail('invalid_approval_mode', `\`mode\` must be one of: ${APPROVAL_MODES.join(', ')}`, {
      allowed: APPROVAL_MODES,
    });
  if (persist !== undefined && typeof persist !== 'boolean')
    throw fail('invalid_persist_flag', '`persist` must be true or false when it is given');
  if (planMode !== undefined && (typeof planMode !== 'boolean' || mode === 'plan'))
    throw fail('invalid_plan_mode', '`planMode` must be true or false, and needs a mode other than "plan"');
  return { mode, isPersisted: persist === true, ...(planMode === undefined ? {} : { planMode }) };
}
