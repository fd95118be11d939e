// Who keeps a session's transcript: the agent, if it has a method to read transcripts, else the daemon, in a recording.
import { AgentCallError, type AgentChannel } from '../agent/agent.ts';
import { callIfKnown } from '../agent/extensions.ts';
import type { Limits } from '../contract/limits.ts';
import type { Log } from '../contract/log.ts';
import { TRANSCRIPT_METHOD } from './agent-history.ts';
import type { BegunSession, History } from './history.ts';
import { SessionHistory } from './session-history.ts';

/** How long the agent is given to answer the probe of its method; without an answer it is taken not to have the method. */
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

  /**
   * Whether the agent keeps transcripts itself. Each agent child is asked once. Never rejects.
   * @param sessionId any session that the agent knows, because the method reads a session's transcript.
   */
  isKeptByAgent(channel: AgentChannel, sessionId: string): Promise<boolean> {
    let probe = this.#probes.get(channel);
    if (probe === undefined) {
      probe = this.#probe(channel, sessionId);
      this.#probes.set(channel, probe);
    }
    return probe;
  }

  /**
   * The history of a session that the agent has just made. A stored transcript under its id belongs to an earlier session and is
   * removed, so this must not be called for the id of a live session.
   */
  newHistory(session: BegunSession, isKeptByAgent: boolean): SessionHistory {
    if (this.history.remove(session.sessionId))
      this.#log.warn(
        { sessionId: session.sessionId },
        'the agent reused a session id: old transcript removed',
      );
    return isKeptByAgent ? this.statedHistory(session) : this.recordedHistory(session);
  }

  /** The history of a session that the daemon records: begins the transcript, or continues an existing one at its end. */
  recordedHistory(session: BegunSession): SessionHistory {
    return new SessionHistory(this.#limits, (onDegraded) => this.history.begin(session, onDegraded));
  }

  /**
   * The history of a session whose transcript the agent keeps: the daemon's file only has statements and ends of turns. If they
   * cannot be written, the session is missing in listings after its close, and nothing else is lost.
   */
  statedHistory(session: BegunSession): SessionHistory {
    const begin = () => this.history.begin({ ...session, isKeptByAgent: true }, () => undefined);
    return new SessionHistory(this.#limits, begin);
  }

  async #probe(channel: AgentChannel, sessionId: string): Promise<boolean> {
    try {
      const answer = await callIfKnown(channel, TRANSCRIPT_METHOD, { sessionId, limit: 1 }, PROBE_TIMEOUT_MS);
      return answer !== undefined;
    } catch (error) {
      // A refusal other than "method not found" concerns this session, which may have no transcript yet: the method exists.
      return error instanceof AgentCallError;
    }
  }
}
