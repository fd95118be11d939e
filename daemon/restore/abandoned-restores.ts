// Restores that the daemon gave up because the agent took too long. The agent may still be working on its `session/load` or
// `session/resume`: until that call has ended, and the session that it may have opened is closed again, no restore gets the id.
import type { AgentChannel } from '../agent/agent.ts';
import { closeSession } from '../agent/extensions.ts';
import { fail } from '../contract/errors.ts';
import type { Limits } from '../contract/limits.ts';
import type { Log } from '../contract/log.ts';
import { sessionKey } from '../contract/wire.ts';
import type { SessionRegister } from '../sessions/register.ts';
import type { RestoreAction } from './intent.ts';

export interface AbandonedRestoresDeps {
  readonly register: Pick<SessionRegister, 'find' | 'isReserved'>;
  readonly limits: Pick<Limits, 'initializeTimeoutMs'>;
  readonly log: Log;
}

export interface AbandonedCall {
  /** The session's id as the agent spells it. */
  readonly sessionId: string;
  readonly channel: AgentChannel;
  readonly isOfCoordinator: boolean;
  /** The pending `session/load` or `session/resume`; how it settles does not matter. */
  readonly call: Promise<unknown>;
}

/** How many seconds a refused client is advised to wait: more than usual, because an abandoned call may go on for long. */
const RETRY_S = 30;

export class AbandonedRestores {
  readonly #deps: AbandonedRestoresDeps;
  /** The blocked ids: lookup form of the id -> whether the abandoned restore was the coordinator's. */
  readonly #abandoned = new Map<string, boolean>();

  constructor(deps: AbandonedRestoresDeps) {
    this.#deps = deps;
  }

  /**
   * Checks that no abandoned restore blocks the id.
   * @throws ApiError 409; 503 where the abandoned restore was the coordinator's.
   */
  checkFree(sessionId: string, action: RestoreAction): void {
    const isOfCoordinator = this.#abandoned.get(sessionId);
    if (isOfCoordinator !== undefined) throw awaitingCleanup(sessionId, action, isOfCoordinator);
  }

  /** Blocks the id until the abandoned call has ended and the agent has closed the session that the call may have opened. */
  add(abandoned: AbandonedCall): void {
    const { sessionId, isOfCoordinator } = abandoned;
    const { log } = this.#deps;
    const key = sessionKey(sessionId);
    this.#abandoned.set(key, isOfCoordinator);
    log.warn({ sessionId }, 'a restore was abandoned; the agent may still be working on it');
    this.#cleanUp(abandoned)
      .catch((error: unknown) => log.debug({ err: error, sessionId }, 'the agent did not close its session'))
      .finally(() => this.#abandoned.delete(key));
  }

  async #cleanUp({ sessionId, channel, call }: AbandonedCall): Promise<void> {
    const { register, limits } = this.#deps;
    await call.catch(() => undefined);
    if (channel.isDying) return;
    // A create may have taken the id meanwhile: then the agent's session of this id is in use and stays open.
    if (register.find(sessionId) !== undefined || register.isReserved(sessionId)) return;
    await closeSession(channel, sessionId, limits.initializeTimeoutMs);
  }
}

/**
 * The error for a restore whose id is blocked. Clients know of each other's restores and get a 409. Of the coordinator's restores
 * clients only need to know that the session is late: a 503.
 */
function awaitingCleanup(sessionId: string, action: RestoreAction, isOfCoordinator: boolean) {
  const reason = 'awaiting_abandoned_cleanup';
  if (isOfCoordinator)
    return fail(
      'workspace_runtime_unavailable',
      'The session is being restored, but the agent has not finished in time',
      { sessionId, reason, retryable: true, retryAfterMs: RETRY_S * 1000 },
      RETRY_S,
    );
  return fail(
    'restore_in_progress',
    'An earlier restore of the session was abandoned and has not ended yet',
    { sessionId, reason, retryable: true, activeAction: action, requestedAction: action },
    RETRY_S,
  );
}
