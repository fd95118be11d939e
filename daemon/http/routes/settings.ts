// What clients change about a session besides its turns: metadata and model.
import { fail, failPlain } from '../../contract/errors.ts';
import { isUuid } from '../../contract/wire.ts';
import { parseMetadataPatch } from '../../domain/metadata.ts';
import { channelFailure } from '../../spawn.ts';
import { clientIdOf, type Handler, ok } from '../call.ts';
import type { RouteContext } from '../routes.ts';

export function patchMetadata({ sessions }: RouteContext): Handler {
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

export function switchModel({ sessions }: RouteContext): Handler {
  return async (call) => {
    const clientId = clientIdOf(call);
    const { modelId } = call.body;
    if (typeof modelId !== 'string' || modelId === '')
      throw failPlain(400, '`modelId` must be a non-empty string');
    const session = sessions.get(call.params.id ?? '');
    session.checkClient(clientId);
    try {
      const answer = await session.models.switchTo(modelId, clientId);
      sessions.broadcast('settings_changed', { key: 'model.name', value: modelId }, clientId);
      return ok(answer);
    } catch (error) {
      throw channelFailure(error, 'session/set_model');
    }
  };
}
