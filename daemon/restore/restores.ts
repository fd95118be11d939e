// Restores sessions for clients (load, resume) and for the coordinator (after a crash or an upgrade). One restore at a time for
// an id: requests that come meanwhile share the restore, or are refused with the advice to come again.
import type { Params } from '../agent/agent.ts';
import { checkAlive } from '../agent/failures.ts';
import type { RestoreAnswer, RestoreRequest } from '../contract/control.ts';
import { fail } from '../contract/errors.ts';
import { sessionKey } from '../contract/wire.ts';
import type { History } from '../history/history.ts';
import type { Session } from '../session/session.ts';
import type { Attachments, JoinedSession } from '../sessions/attachments.ts';
import type { LiveSessions } from '../sessions/live-sessions.ts';
import type { SessionReporter } from '../sessions/reporter.ts';
import type { SingleSlot } from '../sessions/single-slot.ts';
import type { AbandonedRestores } from './abandoned-restores.ts';
import { coordinatorIntent, type RestoreIntent } from './intent.ts';
import type { ReplayDamage } from './load-replay.ts';
import type { LostPrompts } from './lost-prompts.ts';
import type { RestoredSession, SessionRestorer } from './restore-session.ts';

export interface RestoresDeps {
  readonly sessions: Pick<LiveSessions, 'intake' | 'find' | 'isStarting'>;
  readonly slot: Pick<SingleSlot, 'reserve'>;
  readonly attachments: Attachments;
  readonly reporter: SessionReporter;
  readonly restorer: SessionRestorer;
  readonly abandoned: AbandonedRestores;
  readonly history: Pick<History, 'find'>;
  readonly lostPrompts: LostPrompts;
}

/** A restored session with the client that asked for it. */
export interface Restored extends JoinedSession {
  /**
   * Models, modes and options, from the agent's answer to `session/load` or `session/resume`; empty where the session was live
   * already.
   */
  readonly state: Params;
  readonly damage: ReplayDamage;
}

type BlockingAction = 'load' | 'resume' | 'spawn';

/** A restore that is under way. */
interface Active {
  readonly action: RestoreIntent['action'];
  readonly isOfCoordinator: boolean;
  readonly done: Promise<RestoredSession>;
}

export class Restores {
  readonly #deps: RestoresDeps;
  /** The restores that are under way, by the lookup form of the session's id. */
  readonly #active = new Map<string, Active>();

  constructor(deps: RestoresDeps) {
    this.#deps = deps;
  }

  /**
   * Attaches a client to the session when the session is live, else restores it for the client.
   * @param hasLeft whether the client is gone: then a freshly restored session that is not otherwise in use is closed, an attach
   *   undone.
   * @throws ApiError 404, 409, 500, 501, 503, 504
   */
  async forClient(
    intent: RestoreIntent,
    offeredId: string | undefined,
    hasLeft: () => boolean,
  ): Promise<Restored> {
    const { sessions } = this.#deps;
    sessions.intake.check();
    for (;;) {
      const active = this.#active.get(intent.sessionId);
      const live = sessions.find(intent.sessionId) ?? (active && (await shared(active, intent)));
      if (live === undefined) return this.#restoreFor(intent, offeredId, hasLeft);
      const attached = live.hasEnded ? undefined : await this.#attach(live, intent, offeredId, hasLeft);
      if (attached !== undefined) return attached;
      // The session ended before the client was attached to it: the request starts over, and may restore the session.
      sessions.intake.checkNotClosed();
    }
  }

  /**
   * Restores a session for the coordinator: under its old id, with its clients, with event ids above the old ones. No client is
   * registered anew. A session that is live already takes over what the coordinator knows of it.
   * @throws ApiError as `forClient`.
   */
  async forCoordinator(request: RestoreRequest): Promise<RestoreAnswer> {
    const { sessions, slot, reporter } = this.#deps;
    sessions.intake.check();
    const sessionId = sessionKey(request.sessionId);
    const active = this.#active.get(sessionId);
    // Awaits nothing where no restore is active: the id is reserved in the tick in which it was found free.
    const live = sessions.find(sessionId) ?? (active === undefined ? undefined : (await active.done).session);
    if (live?.hasEnded === false) return this.#takeOver(live, request);
    const done = this.#begin(coordinatorIntent(sessionId, request));
    if (request.isDefault) slot.reserve(done.then(({ session }) => session));
    const { session } = await done;
    return { sessionId, feedSeq: reporter.report(session) };
  }

  async #attach(
    session: Session,
    { approvalMode }: RestoreIntent,
    offeredId: string | undefined,
    hasLeft: () => boolean,
  ): Promise<Restored | undefined> {
    checkAlive(session.channel, 'the restore');
    const obtained = { session, isAttached: true, isModelApplied: undefined };
    const requested = { approvalMode, modelId: undefined };
    const joined = await this.#deps.attachments.join(obtained, requested, offeredId, hasLeft);
    return joined && { ...joined, state: {}, damage: {} };
  }

  async #restoreFor(
    intent: RestoreIntent,
    offeredId: string | undefined,
    hasLeft: () => boolean,
  ): Promise<Restored> {
    const { session, state, damage } = await this.#begin(intent);
    const obtained = { session, isAttached: false, isModelApplied: undefined };
    const requested = { approvalMode: intent.approvalMode, modelId: undefined };
    const joined = await this.#deps.attachments.join(obtained, requested, offeredId, hasLeft);
    if (joined === undefined)
      throw fail('acp_channel_unavailable', 'The session ended before its restore was answered');
    return { ...joined, state, damage };
  }

  /** Starts a restore. Reserves the id in the tick in which the caller found the id free. @throws ApiError 404, 409, 503 */
  #begin(intent: RestoreIntent): Promise<RestoredSession> {
    const { sessions, history, restorer, abandoned } = this.#deps;
    const { sessionId, action } = intent;
    abandoned.checkFree(sessionId, action);
    if (sessions.isStarting(sessionId)) throw inProgress(intent, 'spawn');
    if (history.find(sessionId)?.isArchived === true)
      throw fail('session_archived', 'The session is archived: unarchive it first', { sessionId });
    const done = restorer.restore(intent);
    this.#active.set(sessionId, { action, isOfCoordinator: intent.known !== undefined, done });
    const forget = () => this.#active.delete(sessionId);
    done.then(forget, forget);
    return done;
  }

  #takeOver(session: Session, request: RestoreRequest): RestoreAnswer {
    const { slot, reporter, lostPrompts } = this.#deps;
    session.clients.adopt(request.clients);
    if (request.isDefault) slot.reserve(Promise.resolve(session));
    const running = new Set(session.turns.feedPrompts().map(({ promptId }) => promptId));
    const lost = request.lostPrompts.filter((promptId) => !running.has(promptId));
    // Passes the ends that the session remembers: a restore for a coordinator that has died may have reported the lost prompts on
    // this very bus. A session remembers many times more ends than prompts may wait in it.
    lostPrompts.settle(session, lost, session.past.replay.terminals());
    return { sessionId: session.sessionId, feedSeq: reporter.report(session) };
  }
}

/**
 * Waits for a restore that is under way.
 * @returns its session.
 * @throws ApiError 409 where `intent` is a load and the restore is a client's resume; else the failure of the restore.
 */
async function shared(active: Active, intent: RestoreIntent): Promise<Session> {
  // A load may not share a client's resume, which replays nothing of the past: the load would show less than there is.
  const canShare = active.isOfCoordinator || active.action === 'load' || intent.action === 'resume';
  if (!canShare) throw inProgress(intent, active.action);
  return (await active.done).session;
}

function inProgress({ sessionId, action }: RestoreIntent, activeAction: BlockingAction) {
  return fail(
    'restore_in_progress',
    `The session is being made live by ${activeAction}: try again when that is done`,
    {
      sessionId,
      reason: 'restore_in_progress',
      retryable: true,
      activeAction,
      requestedAction: action,
    },
  );
}
