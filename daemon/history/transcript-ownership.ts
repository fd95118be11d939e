// Who keeps the past of a session: the agent, where it has a transcript method, else we do.
import { AgentCallError, type AgentChannel } from '../agent/agent.ts';
import { callIfKnown } from '../agent/extensions.ts';
import type { Limits } from '../contract/limits.ts';
import type { Log } from '../contract/log.ts';
import { TRANSCRIPT_METHOD } from './agent-history.ts';
import type { BegunSession, History } from './history.ts';
import { SessionHistory } from './session-history.ts';

/** A create waits for this answer, once a child: an agent that is silent about a method is taken not to have it. */
const PROBE_TIMEOUT_MS = 1000;

export class TranscriptOwnership {
  readonly history: History;
  readonly #limits: Limits;
  readonly #log: Log;
  readonly #probes = new WeakMap<AgentChannel, Promise<boolean>>();

  constructor(history: History, limits: Limits, log: Log) {
    this.history = history;
    this.#limits = limits;
    this.#log = log;
  }

  /** Whether the agent keeps transcripts itself. Asked once a child, of a session that exists. Never rejects. */
  isKeptByAgent(channel: AgentChannel, sessionId: string): Promise<boolean> {
    let probe = this.#probes.get(channel);
    if (probe === undefined) {
      probe = this.#probe(channel, sessionId);
      this.#probes.set(channel, probe);
    }
    return probe;
  }

  /**
   * The past of a session that has none: a transcript under its id belongs to another one and is removed. Not to be called
   * for the id of a live session, which would lose its own.
   */
  newHistory(session: BegunSession, isKeptByAgent: boolean): SessionHistory {
    if (this.history.remove(session.sessionId))
      this.#log.warn(
        { sessionId: session.sessionId },
        'the agent reused a session id: old transcript removed',
      );
    return isKeptByAgent ? this.statedHistory(session) : this.recordedHistory(session);
  }

  /** Goes on in the session's transcript, or begins it. */
  recordedHistory(session: BegunSession): SessionHistory {
    return new SessionHistory(this.#limits, (onDegraded) => this.history.begin(session, onDegraded));
  }

  /** States that there is such a session. Where that cannot be written, it is not listed once it is closed, no more. */
  statedHistory(session: BegunSession): SessionHistory {
    const begin = () => this.history.begin({ ...session, isKeptByAgent: true }, () => undefined);
    return new SessionHistory(this.#limits, begin);
  }

  async #probe(channel: AgentChannel, sessionId: string): Promise<boolean> {
    try {
      const answer = await callIfKnown(channel, TRANSCRIPT_METHOD, { sessionId, limit: 1 }, PROBE_TIMEOUT_MS);
      return answer !== undefined;
    } catch (error) {
      // Any other refusal is about this session, which may have nothing to show yet: the method is there.
      return error instanceof AgentCallError;
    }
  }
}
