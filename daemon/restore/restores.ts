// Who brings sessions back: clients by load and resume, the coordinator after a crash or an upgrade. One at a time for an
// id: whoever comes meanwhile joins, or is told to come again.
import type { Params } from '../agent/agent.ts';
import { closeSession } from '../agent/extensions.ts';
import { checkAlive } from '../agent/failures.ts';
import type { Clock } from '../contract/clock.ts';
import type { RestoreAnswer, RestoreRequest } from '../contract/control.ts';
import { fail } from '../contract/errors.ts';
import type { FeedBody } from '../contract/feed.ts';
import type { Log } from '../contract/log.ts';
import { sessionKey } from '../contract/wire.ts';
import type { History } from '../history/history.ts';
import type { Session } from '../session/session.ts';
import type { SpawnContext } from '../sessions/create.ts';
import type { Created, LiveSessions } from '../sessions/live-sessions.ts';
import type { ReplayDamage } from './load-replay.ts';
import { settleLost } from './lost-prompts.ts';
import { type RestoredSession, type RestoreIntent, restoreOnAgent } from './restore-session.ts';

export interface RestoresOptions {
  readonly sessions: LiveSessions;
  readonly history: History;
  readonly clock: Clock;
  readonly log: Log;
  /** Tells the coordinator; returns the record's seq. */
  readonly tell: (body: FeedBody) => number;
  readonly collect: (sessionId: string, onUpdate: (params: Params) => void) => () => void;
}

export interface Restored extends Created {
  /** Empty where the session was live already. */
  readonly state: Params;
  readonly damage: ReplayDamage;
}

type BlockingAction = 'load' | 'resume' | 'spawn';

interface Active {
  readonly action: RestoreIntent['action'];
  readonly isOfCoordinator: boolean;
  readonly done: Promise<RestoredSession>;
}

/** A call that was given up may go on for long; asking again at the ordinary pace is of no use. */
const ABANDONED_RETRY_S = 30;

export class Restores {
  readonly #o: RestoresOptions;
  readonly #active = new Map<string, Active>();
  /** Ids for which a call that was given up still runs at the agent; whether it was the coordinator's. */
  readonly #abandoned = new Map<string, boolean>();

  constructor(options: RestoresOptions) {
    this.#o = options;
  }

  /**
   * Attaches to the session when it is live, else brings it back.
   * @param hasLeft whether the caller is gone: then a fresh restore that nobody else holds is closed, an attach undone.
   * @throws ApiError 404, 409, 500, 501, 503, 504
   */
  async forClient(
    intent: RestoreIntent,
    offeredId: string | undefined,
    hasLeft: () => boolean,
  ): Promise<Restored> {
    const { sessions } = this.#o;
    sessions.checkOpen();
    for (;;) {
      const active = this.#active.get(intent.sessionId);
      const live = sessions.find(intent.sessionId) ?? (active && (await shared(active, intent)));
      if (live === undefined) return this.#bringBack(intent, offeredId, hasLeft);
      const attached = live.hasEnded ? undefined : await this.#attach(live, intent, offeredId, hasLeft);
      if (attached !== undefined) return attached;
      // It has ended meanwhile, and may be brought back again.
      sessions.intake.checkNotClosed();
    }
  }

  /**
   * For the coordinator: the session lives under its old id, with its clients, above its old event ids. Nobody is registered
   * anew. A live session takes over what the coordinator knows.
   * @throws ApiError as `forClient`.
   */
  async forCoordinator(request: RestoreRequest): Promise<RestoreAnswer> {
    const { sessions } = this.#o;
    sessions.checkOpen();
    const sessionId = sessionKey(request.sessionId);
    const active = this.#active.get(sessionId);
    // Not awaited where there is none: the id is taken in the tick in which it was found free.
    const live = sessions.find(sessionId) ?? (active === undefined ? undefined : (await active.done).session);
    if (live?.hasEnded === false) return this.#takeOver(live, request);
    const intent = intentOf(sessionId, request);
    const done = this.#begin(intent, true);
    if (request.isDefault) sessions.reserveSlot(done.then(({ session }) => session));
    const { session } = await done;
    return { sessionId, feedSeq: sessions.tellSession(session) };
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
    const created = await this.#o.sessions.join(obtained, requested, offeredId, hasLeft);
    return created && { ...created, state: {}, damage: {} };
  }

  async #bringBack(
    intent: RestoreIntent,
    offeredId: string | undefined,
    hasLeft: () => boolean,
  ): Promise<Restored> {
    const { session, state, damage } = await this.#begin(intent, false);
    const obtained = { session, isAttached: false, isModelApplied: undefined };
    const requested = { approvalMode: intent.approvalMode, modelId: undefined };
    const created = await this.#o.sessions.join(obtained, requested, offeredId, hasLeft);
    if (created === undefined)
      throw fail('acp_channel_unavailable', 'The session ended before its restore was answered');
    return { ...created, state, damage };
  }

  /** Takes the id in the same tick in which it was found free. @throws ApiError 404, 409, 503 */
  #begin(intent: RestoreIntent, isOfCoordinator: boolean): Promise<RestoredSession> {
    const { sessions, history, collect } = this.#o;
    const { sessionId, action } = intent;
    const isLateOfCoordinator = this.#abandoned.get(sessionId);
    if (isLateOfCoordinator !== undefined) throw awaitingCleanup(intent, isLateOfCoordinator);
    if (sessions.isStarting(sessionId)) throw inProgress(intent, 'spawn');
    if (history.find(sessionId)?.isArchived === true)
      throw fail('session_archived', 'The session is archived: unarchive it first', { sessionId });
    const done = sessions.open(sessionId, (context) =>
      restoreOnAgent(intent, {
        ...context,
        collect,
        abandon: (id, ended) => {
          this.#abandoned.set(sessionId, isOfCoordinator);
          this.#whenAbandoned(id, ended, context);
        },
      }),
    );
    this.#active.set(sessionId, { action, isOfCoordinator, done });
    const forget = () => this.#active.delete(sessionId);
    done.then(forget, forget);
    return done;
  }

  /** What the agent opened after all is closed again; until then no restore gets the id. */
  #whenAbandoned(sessionId: string, ended: Promise<void>, context: SpawnContext): void {
    const channel = context.agent.current();
    this.#o.log.warn({ sessionId }, 'a restore was abandoned; the agent may still be working on it');
    ended
      .then(async () => {
        if (channel?.isDying !== false) return;
        // A create may have chosen the id: then what the agent has under it is in use.
        const { sessions } = this.#o;
        if (sessions.find(sessionId) !== undefined || sessions.isStarting(sessionId)) return;
        await closeSession(channel, sessionId, context.limits.initializeTimeoutMs);
      })
      .catch((error: unknown) =>
        this.#o.log.debug({ err: error, sessionId }, 'the agent did not close its session'),
      )
      .finally(() => this.#abandoned.delete(sessionKey(sessionId)));
  }

  #takeOver(session: Session, request: RestoreRequest): RestoreAnswer {
    const { sessions } = this.#o;
    session.clients.adopt(request.clients);
    if (request.isDefault) sessions.reserveSlot(Promise.resolve(session));
    const running = new Set(session.turns.feedPrompts().map(({ promptId }) => promptId));
    const lost = request.lostPrompts.filter((promptId) => !running.has(promptId));
    // The restore for a coordinator that died may have reported them on this very bus. The ends that a session remembers
    // are many times the prompts that may wait in it.
    settleLost(session, lost, session.past.replay.terminals(), this.#o);
    return { sessionId: session.sessionId, feedSeq: sessions.tellSession(session) };
  }
}

/** The session of a restore that is under way. @throws ApiError 409 where this caller wants more of it, and its failure. */
async function shared(active: Active, intent: RestoreIntent): Promise<Session> {
  // A resume tells nothing of the past, so a load behind it would show less than there is.
  const canJoin = active.isOfCoordinator || active.action === 'load' || intent.action === 'resume';
  if (!canJoin) throw inProgress(intent, active.action);
  return (await active.done).session;
}

function intentOf(sessionId: string, request: RestoreRequest): RestoreIntent {
  const { idFloor, createdAtMs, displayName, clients, lostPrompts, sourceType, sourceId } = request;
  return {
    sessionId,
    spelling: request.sessionId,
    action: 'load',
    source: {
      ...(sourceType === undefined ? {} : { sourceType }),
      ...(sourceId === undefined ? {} : { sourceId }),
    },
    approvalMode: undefined,
    known: { idFloor, createdAtMs, displayName, clients, lostPrompts },
  };
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

/** Clients know of each other's restores. Of the coordinator's they only need to know that the session is late. */
function awaitingCleanup({ sessionId, action }: RestoreIntent, isOfCoordinator: boolean) {
  const reason = 'awaiting_abandoned_cleanup';
  if (isOfCoordinator)
    return fail(
      'workspace_runtime_unavailable',
      'The session is being restored, but the agent has not finished in time',
      { sessionId, reason, retryable: true, retryAfterMs: ABANDONED_RETRY_S * 1000 },
      ABANDONED_RETRY_S,
    );
  return fail(
    'restore_in_progress',
    'An earlier restore of the session was abandoned and has not ended yet',
    { sessionId, reason, retryable: true, activeAction: action, requestedAction: action },
    ABANDONED_RETRY_S,
  );
}
