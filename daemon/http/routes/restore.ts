// Sessions with a past: load with what a client renders, resume without.
import { FEED_SEQ_HEADER } from '../../contract/feed.ts';
import { sessionKey } from '../../contract/wire.ts';
import { parseReplayQuery, parseRestoreWishes } from '../../domain/restore-request.ts';
import type { RestoreAction } from '../../restore.ts';
import type { Restored } from '../../restores.ts';
import { type Call, clientIdOf, type Handler } from '../call.ts';
import type { RouteContext } from '../routes.ts';
import { checkWorkspace, createdBody } from './sessions.ts';

/** `POST /session/:id/load`: the answer's arrays and `lastEventId` are of one instant, so nothing is missed or told twice. */
export function loadSession(context: RouteContext): Handler {
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

export function resumeSession(context: RouteContext): Handler {
  return async (call) => answer(await restore('resume', call, context), context, {});
}

async function restore(action: RestoreAction, call: Call, context: RouteContext): Promise<Restored> {
  const clientId = clientIdOf(call);
  checkWorkspace(call.body.cwd, context);
  const wishes = parseRestoreWishes(call.body);
  const sessionId = sessionKey(call.params.id ?? '');
  return context.restores.forClient(
    { sessionId, action, ...wishes, known: undefined },
    clientId,
    call.hasLeft,
  );
}

function answer(restored: Restored, { workspace }: RouteContext, replay: Readonly<Record<string, unknown>>) {
  const { session, state, damage, feedSeq } = restored;
  // What the answer shows must survive a kill like what a stream has shown.
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
