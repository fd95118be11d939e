// Reads transcripts for clients, from the daemon's recording if there is one, else from the agent. An agent with a turn index
// pages its transcripts itself; of any other agent the transcript is read as a whole, and paged by the daemon.
import { AgentCallError, type AgentChannel, type Params, RESOURCE_NOT_FOUND } from '../agent/agent.ts';
import { callIfKnown } from '../agent/extensions.ts';
import { channelFailure } from '../agent/failures.ts';
import { ApiError, type ErrorCode, fail } from '../contract/errors.ts';
import { asRecord, type JsonRecord, recordsIn } from '../contract/json-record.ts';
import type { Limits } from '../contract/limits.ts';
import { pageOf } from '../domain/transcript-page.ts';
import type { TranscriptQuery } from '../domain/transcript-page-query.ts';
import { type TranscriptView, viewOf } from '../domain/transcript-view.ts';
import { type TurnIndexQuery, turnIndexOf } from '../domain/turn-index.ts';
import { readAgentTranscript, TRANSCRIPT_METHOD } from '../history/agent-history.ts';
import type { History } from '../history/history.ts';
import { pageFrom, type TranscriptSource, turnIndexFrom } from '../history/paging.ts';
import type { TranscriptOwnership } from '../history/transcript-ownership.ts';
import type { LiveSessions } from '../sessions/live-sessions.ts';
import type { AgentSessions } from './agent-sessions.ts';

const TURN_INDEX_METHOD = 'qwen/status/session/turn_index';

/** Most records of an agent's transcript that are read into memory; later records are not shown. */
const MAX_RECORDS = 500_000;

export interface TranscriptsDeps {
  readonly workspace: string;
  readonly sessions: LiveSessions;
  readonly history: History;
  readonly ownership: Pick<TranscriptOwnership, 'isKeptByAgent'>;
  readonly agentSessions: AgentSessions;
  readonly limits: Limits;
}

export interface WholeTranscript {
  readonly view: TranscriptView;
  readonly displayName: string | undefined;
  readonly workspaceCwd: string;
}

/** Error codes of an agent that are passed on to the client, because they mean the same in this API. */
const REFUSALS: ReadonlySet<string> = new Set<ErrorCode>([
  'invalid_transcript_cursor',
  'invalid_turn_anchor',
  'session_not_found',
  'transcript_snapshot_unavailable',
  'transcript_too_large',
  'transcript_page_too_large',
]);

export class Transcripts {
  readonly #deps: TranscriptsDeps;
  /** For each agent child, whether it has a turn index, see `#navigates`. */
  readonly #navigating = new WeakMap<AgentChannel, Promise<boolean>>();

  constructor(deps: TranscriptsDeps) {
    this.#deps = deps;
  }

  /** One page of a transcript. @throws ApiError 404 for a session without transcript, 409 `session_archived`, and as `pageOf`. */
  async page(sessionId: string, query: TranscriptQuery): Promise<JsonRecord> {
    const channel = await this.#keeperOf(sessionId);
    if (channel === undefined) return this.#ours(sessionId, (source) => pageFrom(source, query));
    if (!(await this.#navigates(channel, sessionId)))
      return { ...pageOf((await this.whole(sessionId)).view, query) };
    const params = { ...this.#nameOf(sessionId), ...query };
    const answer = await this.#ask(channel, TRANSCRIPT_METHOD, params);
    return relayedPage(sessionId, answer);
  }

  /** The turn index of a transcript. @throws as `page` */
  async turnIndex(sessionId: string, query: TurnIndexQuery): Promise<JsonRecord> {
    const channel = await this.#keeperOf(sessionId);
    if (channel === undefined) return this.#ours(sessionId, (source) => turnIndexFrom(source, query));
    if (!(await this.#navigates(channel, sessionId)))
      return { ...turnIndexOf((await this.whole(sessionId)).view, query) };
    const answer = await this.#ask(channel, TURN_INDEX_METHOD, { ...this.#nameOf(sessionId), ...query });
    return { ...answer, v: 1, sessionId };
  }

  /** The session's whole transcript, without dropped parts. @throws ApiError 404 without transcript, 409 `session_archived`. */
  async whole(sessionId: string): Promise<WholeTranscript> {
    const { sessions, workspace } = this.#deps;
    const live = sessions.find(sessionId)?.feedSession(false);
    const named = live === undefined ? this.#deps.history.find(sessionId)?.displayName : live.displayName;
    const channel = await this.#keeperOf(sessionId);
    if (channel === undefined) {
      const transcript = await this.#deps.history.read(sessionId);
      if (transcript === undefined) throw notFound(sessionId);
      const { records, isPartial, droppedEvents } = transcript;
      const view = shown(viewOf(sessionId, records, isPartial || droppedEvents > 0));
      return { view, displayName: named, workspaceCwd: workspace };
    }
    const transcript = await this.#readFromAgent(channel, sessionId);
    if (transcript === undefined) throw notFound(sessionId);
    const view = shown(viewOf(sessionId, transcript.records, transcript.isPartial));
    return { view, displayName: named, workspaceCwd: workspace };
  }

  /** The session's transcript; undefined when it cannot be read, or only by starting an agent. */
  async readIdle(sessionId: string): Promise<TranscriptView | undefined> {
    const stored = this.#deps.history.find(sessionId);
    const needsAgent = stored === undefined || stored.isKeptByAgent === true;
    if (needsAgent && !this.#deps.agentSessions.isAgentRunning) return undefined;
    try {
      return (await this.whole(sessionId)).view;
    } catch (error) {
      if (error instanceof ApiError) return undefined;
      throw error;
    }
  }

  /** The channel of the agent that keeps the transcript; undefined when the daemon keeps it. @throws ApiError 404, 409, 503 */
  async #keeperOf(sessionId: string): Promise<AgentChannel | undefined> {
    const { sessions, history, ownership } = this.#deps;
    const stored = history.find(sessionId);
    if (stored?.isArchived === true)
      throw fail('session_archived', 'The session is archived: unarchive it first', { sessionId });
    const live = sessions.find(sessionId);
    if (live !== undefined) return live.past.isRecorded ? undefined : live.channel;
    if (stored !== undefined && stored.isKeptByAgent !== true) return undefined;
    const { agentSessions } = this.#deps;
    // The agent may keep a session that is not stored. If the daemon records sessions, this agent keeps none: do not start it.
    const isPlausible = stored !== undefined || history.list().every((known) => known.isKeptByAgent);
    if (!isPlausible && !agentSessions.isAgentRunning) throw notFound(sessionId);
    const channel = await agentSessions.channel();
    if (!(await ownership.isKeptByAgent(channel, sessionId))) throw notFound(sessionId);
    return channel;
  }

  /** The result of `use` for the daemon's recording. @throws ApiError 404 when nothing was said, or the session was removed. */
  async #ours(sessionId: string, use: (source: TranscriptSource) => Promise<object>): Promise<JsonRecord> {
    const answer: object | undefined = await this.#deps.history.using(sessionId, (source) => {
      if (source.outline.length === 0) throw notFound(sessionId);
      return use(source);
    });
    if (answer === undefined) throw notFound(sessionId);
    return { ...answer };
  }

  /** Whether the agent has a turn index, and so pages its transcripts itself. Each agent child is asked once. */
  #navigates(channel: AgentChannel, sessionId: string): Promise<boolean> {
    let probe = this.#navigating.get(channel);
    if (probe === undefined) {
      probe = this.#probe(channel, sessionId);
      this.#navigating.set(channel, probe);
      // A probe that got no answer is forgotten, so that the next request asks the agent again.
      probe.catch(() => this.#navigating.delete(channel));
    }
    return probe;
  }

  async #probe(channel: AgentChannel, sessionId: string): Promise<boolean> {
    try {
      const timeoutMs = this.#deps.limits.initializeTimeoutMs;
      const answer = await callIfKnown(channel, TURN_INDEX_METHOD, { sessionId, limit: 1 }, timeoutMs);
      return answer !== undefined;
    } catch (error) {
      // A refusal other than "method not found" concerns this session: the agent has the method.
      if (error instanceof AgentCallError) return true;
      throw channelFailure(error, TURN_INDEX_METHOD);
    }
  }

  async #readFromAgent(channel: AgentChannel, sessionId: string) {
    const options = { timeoutMs: this.#deps.limits.initializeTimeoutMs, maxRecords: MAX_RECORDS };
    try {
      return await readAgentTranscript(channel, this.#nameOf(sessionId), options);
    } catch (error) {
      throw channelFailure(error, TRANSCRIPT_METHOD);
    }
  }

  /**
   * Params that name the session to the agent: the id in the agent's spelling, and the session's directory if it has a worktree.
   */
  #nameOf(sessionId: string): { readonly sessionId: string; readonly cwd?: string } {
    const stored = this.#deps.history.find(sessionId);
    const path = stored?.worktree?.path;
    const spelled = this.#deps.sessions.find(sessionId)?.sessionId ?? stored?.sessionId ?? sessionId;
    return { sessionId: spelled, ...(path === undefined ? {} : { cwd: path }) };
  }

  async #ask(channel: AgentChannel, method: string, params: Params): Promise<JsonRecord> {
    try {
      return asRecord(await callIfKnown(channel, method, params, this.#deps.limits.initializeTimeoutMs));
    } catch (error) {
      throw refusalOf(error) ?? channelFailure(error, method);
    }
  }
}

/** Returns `view`, if it has records. @throws ApiError 404 when nothing has been said in the session yet. */
function shown(view: TranscriptView): TranscriptView {
  if (view.records.length === 0) throw notFound(view.sessionId);
  return view;
}

function notFound(sessionId: string) {
  return fail('session_not_found', 'No transcript of this session', { sessionId });
}

/** The error for a client if the agent refused with a code of `REFUSALS` or "not found"; undefined for any other error. */
function refusalOf(error: unknown) {
  if (!(error instanceof AgentCallError)) return undefined;
  if (error.code === RESOURCE_NOT_FOUND) return fail('session_not_found', error.message);
  const { errorKind, sessionId, pageBytes, snapshotSize, maxBytes } = asRecord(error.data);
  if (typeof errorKind !== 'string' || !REFUSALS.has(errorKind)) return undefined;
  const context = Object.entries({ sessionId, pageBytes, snapshotSize, maxBytes });
  return fail(
    errorKind as ErrorCode,
    error.message,
    Object.fromEntries(context.filter(([, value]) => value !== undefined)),
  );
}

/** Fields of the agent's page that are passed on to the client unchanged. */
const RELAYED = [
  'nextCursor',
  'startTime',
  'lastUpdated',
  'partial',
  'replayError',
  'targetRecordId',
  'hasOlder',
];

/** The agent's page as the answer for a client, without the ids of its events, which mean nothing on the session's bus. */
function relayedPage(sessionId: string, answer: JsonRecord): JsonRecord {
  const events = recordsIn(answer.events);
  return {
    v: 1,
    sessionId,
    events: events.map(({ id: _, ...event }) => event),
    hasMore: answer.hasMore === true || typeof answer.nextCursor === 'string',
    ...Object.fromEntries(
      RELAYED.filter((key) => answer[key] !== undefined).map((key) => [key, answer[key]]),
    ),
  };
}
