// Registers clients on live sessions and detaches them again.
import { randomUUID } from 'node:crypto';
import type { Clock } from '../contract/clock.ts';
import type { Log } from '../contract/log.ts';
import { applyRequestedSettings, type RequestedSettings } from '../session/requested-settings.ts';
import type { Session } from '../session/session.ts';
import type { AutoClose } from './auto-close.ts';
import type { ObtainedSession } from './obtained.ts';
import type { SessionReporter } from './reporter.ts';

export interface AttachmentsDeps {
  readonly reporter: SessionReporter;
  readonly autoClose: AutoClose;
  readonly clock: Clock;
  readonly log: Log;
}

/** A session with a client that was registered on it. */
export interface JoinedSession extends ObtainedSession {
  readonly clientId: string;
  /** Feed record after which the coordinator knows the session with this client. */
  readonly feedSeq: number;
}

export class Attachments {
  readonly #deps: AttachmentsDeps;

  constructor(deps: AttachmentsDeps) {
    this.#deps = deps;
  }

  /**
   * Registers a client in the tick in which the session was seen alive, and then applies the settings that the client asked
   * for: a session with a registered client does not end meanwhile. A client that has left is registered, reported and detached
   * like any other, so that the coordinator ends up with the true list of clients; its settings are not applied. A client that
   * leaves meanwhile, or whose mode is refused, is detached too; after a refusal a session that was not in use before stays open.
   * @param hasLeft whether the client is gone.
   * @returns undefined when the session has ended, perhaps only while the settings were applied.
   * @throws ApiError: why the mode was refused, or that the agent ended meanwhile.
   */
  async join(
    obtained: ObtainedSession,
    requested: RequestedSettings,
    offeredId: string | undefined,
    hasLeft: () => boolean,
  ): Promise<JoinedSession | undefined> {
    const { reporter, autoClose, clock, log } = this.#deps;
    const { session } = obtained;
    if (session.hasEnded) return undefined;
    const wasUnused = obtained.isAttached && !session.isInUse;
    const clientId = session.clients.register(offeredId, `client_${randomUUID()}`, clock.nowMs());
    const feedSeq = reporter.report(session);
    try {
      if (!hasLeft()) await applyRequestedSettings(session, requested, log, clientId);
    } catch (error) {
      // The failure is that of a closed session, not a refusal of the settings.
      if (session.hasEnded && !session.channel.isDying) return undefined;
      if (this.#detach(session, clientId) && !wasUnused) autoClose.ifUnused(session);
      throw error;
    }
    if (session.hasEnded) return undefined;
    if (hasLeft()) this.detach(session, clientId);
    return { ...obtained, clientId, feedSeq };
  }

  /** Drops one registration; unknown ids and ended sessions are ignored. May close the session. */
  detach(session: Session, clientId: string | undefined): void {
    if (clientId !== undefined && this.#detach(session, clientId)) this.#deps.autoClose.ifUnused(session);
  }

  /** @returns false for an unknown client and an ended session: then there is nothing to report. */
  #detach(session: Session, clientId: string): boolean {
    if (session.hasEnded || !session.clients.unregister(clientId)) return false;
    this.#deps.reporter.report(session);
    return true;
  }
}
