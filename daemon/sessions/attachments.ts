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

/** The session that a request got, with the client that was registered for the request. */
export interface JoinedSession extends ObtainedSession {
  readonly clientId: string;
  /** `seq` of the feed record from which the coordinator knows the session with this client. */
  readonly feedSeq: number;
}

export class Attachments {
  readonly #deps: AttachmentsDeps;

  constructor(deps: AttachmentsDeps) {
    this.#deps = deps;
  }

  /**
   * Registers a client on a session, then applies the settings that the client asked for: a session with a registered client does
   * not end meanwhile. A client that has left before is registered, reported and detached like any other, so that the coordinator
   * ends up with the true list of clients; its settings are not applied. A client that leaves during the call, or whose mode is
   * refused, is detached too; after a refusal a session that was not in use before stays open.
   * @param obtained to be joined in the tick in which its session was found alive.
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
      // The settings failed because the session was closed meanwhile: that is no refusal of the settings.
      if (session.hasEnded && !session.channel.isDying) return undefined;
      if (this.#detach(session, clientId) && !wasUnused) autoClose.ifUnused(session);
      throw error;
    }
    if (session.hasEnded) return undefined;
    if (hasLeft()) this.detach(session, clientId);
    return { ...obtained, clientId, feedSeq };
  }

  /** Removes a client's registration; ignores unknown ids and ended sessions. Closes the session if it is unused then. */
  detach(session: Session, clientId: string | undefined): void {
    if (clientId !== undefined && this.#detach(session, clientId)) this.#deps.autoClose.ifUnused(session);
  }

  /** Removes and reports a registration. @returns false for an unknown client and an ended session: then nothing is reported. */
  #detach(session: Session, clientId: string): boolean {
    if (session.hasEnded || !session.clients.unregister(clientId)) return false;
    this.#deps.reporter.report(session);
    return true;
  }
}
