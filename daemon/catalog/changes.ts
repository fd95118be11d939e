// The changes that clients make to the workspace's sessions, live or not: archive, unarchive, delete, rename. Each change is
// reported to the coordinator as the session's shelf.
import type { Clock } from '../contract/clock.ts';
import { fail } from '../contract/errors.ts';
import type { FeedBody } from '../contract/feed.ts';
import { sessionKey } from '../contract/wire.ts';
import type { MetadataPatch } from '../domain/metadata.ts';
import type { BatchAnswer, BatchOutcome } from '../domain/session-batch.ts';
import { type History, shelvedAs } from '../history/history.ts';
import type { Session } from '../session/session.ts';
import type { LiveSessions } from '../sessions/live-sessions.ts';
import type { AgentSessions } from './agent-sessions.ts';
import { runBatch } from './batch.ts';

export interface CatalogChangesDeps {
  readonly sessions: Pick<LiveSessions, 'find' | 'isStarting' | 'close' | 'closed'>;
  readonly history: Pick<History, 'find' | 'begin' | 'setArchived' | 'remove'>;
  /** The sessions that the agent keeps itself. */
  readonly agentSessions: Pick<AgentSessions, 'remove'>;
  readonly clock: Clock;
  /** Puts a record on the feed to the coordinator. */
  readonly report: (body: FeedBody) => void;
}

export class CatalogChanges {
  readonly #deps: CatalogChangesDeps;

  constructor(deps: CatalogChangesDeps) {
    this.#deps = deps;
  }

  /** Archives sessions. A live session is closed first; if work goes on in it, it is refused as busy. */
  async archive(ids: readonly string[], clientId: string | undefined) {
    const answer = await runBatch(ids, ['archived', 'alreadyArchived'], (id) =>
      this.#archiveOne(id, clientId),
    );
    return { ...answer, resolvedConflicts: [] };
  }

  /** Takes sessions out of the archive. */
  async unarchive(ids: readonly string[]) {
    const answer = await runBatch(ids, ['unarchived', 'alreadyActive'], (id) => this.#unarchiveOne(id));
    return { ...answer, resolvedConflicts: [] };
  }

  /**
   * Deletes sessions: closes live ones, even if work goes on in them, and removes the daemon's recordings and the agent's
   * transcripts.
   */
  remove(ids: readonly string[], clientId: string | undefined): Promise<BatchAnswer<'removed'>> {
    return runBatch(ids, ['removed'], (id) => this.#removeOne(id, clientId));
  }

  /**
   * Changes the name that is stored of a session that is not live.
   * @returns the metadata after the change; undefined when nothing is stored of the session.
   * @throws ApiError 501 for a pull request, which only live sessions have; 507 when the change cannot be written.
   */
  patchStored(sessionId: string, { displayName, pr }: MetadataPatch) {
    const { history } = this.#deps;
    const stored = history.find(sessionId);
    if (stored === undefined) return undefined;
    if (pr !== undefined)
      throw fail('not_implemented', 'Pull requests are linked to live sessions only: load it first', {
        sessionId,
      });
    if (displayName !== undefined) {
      const recording = history.begin(stored, () => undefined);
      recording.change({ displayName, titleSource: 'manual' });
      const hasFailed = recording.isDegraded;
      recording.close();
      if (hasFailed) throw fail('storage_unavailable', 'The transcript cannot be written', { sessionId });
      this.#reportShelf(sessionId);
    }
    const name = displayName ?? stored.displayName;
    return { sessionId: stored.sessionId, ...(name === undefined ? {} : { displayName: name }) };
  }

  #archiveOne(id: string, clientId: string | undefined): BatchOutcome<'archived' | 'alreadyArchived'> {
    const { sessions, history } = this.#deps;
    const stored = history.find(id);
    const live = sessions.find(id);
    if (stored?.isArchived === true) return 'alreadyArchived';
    if (sessions.isStarting(id)) return STARTING;
    if (stored === undefined) return live === undefined ? 'notFound' : NOT_STATED;
    if (live?.isWorking === true) return BUSY;
    if (live !== undefined) this.#close(live, clientId);
    if (!history.setArchived(id, true)) return { error: 'The transcript no longer exists' };
    this.#reportGone(id, live, 'archived');
    return 'archived';
  }

  #unarchiveOne(id: string): BatchOutcome<'unarchived' | 'alreadyActive'> {
    const { sessions, history } = this.#deps;
    const stored = history.find(id);
    if (stored === undefined) return sessions.find(id) === undefined ? 'notFound' : 'alreadyActive';
    if (!history.setArchived(id, false)) return 'alreadyActive';
    this.#reportShelf(id);
    return 'unarchived';
  }

  async #removeOne(id: string, clientId: string | undefined): Promise<BatchOutcome<'removed'>> {
    const { sessions, history, agentSessions } = this.#deps;
    if (sessions.isStarting(id)) return STARTING;
    const live = sessions.find(id);
    const stored = history.find(id);
    if (live !== undefined) this.#close(live, clientId);
    if (stored === undefined) return live === undefined ? 'notFound' : 'removed';
    // The agent has no transcript of a session in which nothing was said.
    if (stored.isKeptByAgent === true && stored.isBlank !== true) {
      await sessions.closed(id);
      await agentSessions.remove(stored.sessionId);
    }
    // While the agent deleted its transcript, another client may have loaded the session again.
    if (sessions.find(id) !== undefined || sessions.isStarting(id)) return STARTING;
    history.remove(id);
    this.#reportGone(id, live, 'deleted');
    return 'removed';
  }

  /** Closes a live session. `clientId` is named as the client that closed it only if it is registered on the session. */
  #close(live: Session, clientId: string | undefined): void {
    const closedBy = clientId !== undefined && live.clients.has(clientId) ? clientId : undefined;
    this.#deps.sessions.close(live, closedBy);
  }

  /**
   * Reports the shelf of a session that was archived or deleted.
   * @param live the session, if it was live: then its close has already reported its end. Of a session that was not live the end
   * is reported here, because a coordinator may list that session as dormant.
   */
  #reportGone(sessionId: string, live: Session | undefined, reason: string): void {
    this.#reportShelf(sessionId);
    if (live !== undefined) return;
    const ended = { sessionId: sessionKey(sessionId), reason, atMs: this.#deps.clock.nowMs() };
    this.#deps.report({ type: 'session_ended', ended });
  }

  #reportShelf(sessionId: string): void {
    const shelved = shelvedAs(sessionKey(sessionId), this.#deps.history.find(sessionId));
    this.#deps.report({ type: 'shelved', shelved });
  }
}

const BUSY = {
  error: 'The session is busy: wait for its turn to end, or cancel it',
  code: 'session_busy',
};
const STARTING = { error: 'The session is being made live', code: 'restore_in_progress' };
const NOT_STATED = { error: 'The change could not be written for this session', code: 'storage_unavailable' };
