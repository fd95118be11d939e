// Where a session's transcript comes from: our recording where there is one, else the agent. An agent that has a turn index
// pages its transcripts itself; of any other its whole transcript is read, and paged as ours are.
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

/** Records of one transcript that are held at once; what an agent tells beyond is not shown. */
const MAX_RECORDS = 500_000;

export interface TranscriptsOptions {
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

/** What an agent calls the refusals of its transcripts, which are ours too. */
const REFUSALS: ReadonlySet<string> = new Set<ErrorCode>([
  'invalid_transcript_cursor',
  'invalid_turn_anchor',
  'session_not_found',
  'transcript_snapshot_unavailable',
  'transcript_too_large',
  'transcript_page_too_large',
]);

export class Transcripts {
  readonly #o: TranscriptsOptions;
  readonly #navigating = new WeakMap<AgentChannel, Promise<boolean>>();

  constructor(options: TranscriptsOptions) {
    this.#o = options;
  }

  /** @throws ApiError 404 unknown or nothing persisted, 409 `session_archived`, and as `pageOf`. */
  async page(sessionId: string, query: TranscriptQuery): Promise<JsonRecord> {
    const channel = await this.#keeperOf(sessionId);
    if (channel === undefined) return this.#ours(sessionId, (source) => pageFrom(source, query));
    if (!(await this.#navigates(channel, sessionId)))
      return { ...pageOf((await this.whole(sessionId)).view, query) };
    const params = { ...this.#nameOf(sessionId), ...query };
    const answer = await this.#ask(channel, TRANSCRIPT_METHOD, params);
    return relayedPage(sessionId, answer);
  }

  /** @throws as `page` */
  async turnIndex(sessionId: string, query: TurnIndexQuery): Promise<JsonRecord> {
    const channel = await this.#keeperOf(sessionId);
    if (channel === undefined) return this.#ours(sessionId, (source) => turnIndexFrom(source, query));
    if (!(await this.#navigates(channel, sessionId)))
      return { ...turnIndexOf((await this.whole(sessionId)).view, query) };
    const answer = await this.#ask(channel, TURN_INDEX_METHOD, { ...this.#nameOf(sessionId), ...query });
    return { ...answer, v: 1, sessionId };
  }

  /** Everything that is kept of the session. @throws ApiError 404, 409 `session_archived`. */
  async whole(sessionId: string): Promise<WholeTranscript> {
    const { sessions, workspace } = this.#o;
    const live = sessions.find(sessionId)?.feedSession(false);
    const named = live === undefined ? this.#o.history.find(sessionId)?.displayName : live.displayName;
    const channel = await this.#keeperOf(sessionId);
    if (channel === undefined) {
      const transcript = await this.#o.history.read(sessionId);
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

  /** The session's transcript, if it can be read without starting an agent; else undefined. */
  async readIdle(sessionId: string): Promise<TranscriptView | undefined> {
    const stored = this.#o.history.find(sessionId);
    const needsAgent = stored === undefined || stored.isKeptByAgent === true;
    if (needsAgent && !this.#o.agentSessions.isAgentRunning) return undefined;
    try {
      return (await this.whole(sessionId)).view;
    } catch (error) {
      if (error instanceof ApiError) return undefined;
      throw error;
    }
  }

  /** The agent that keeps the transcript; undefined where we do. @throws ApiError 404, 409, 503 */
  async #keeperOf(sessionId: string): Promise<AgentChannel | undefined> {
    const { sessions, history, ownership } = this.#o;
    const stored = history.find(sessionId);
    if (stored?.isArchived === true)
      throw fail('session_archived', 'The session is archived: unarchive it first', { sessionId });
    const live = sessions.find(sessionId);
    if (live !== undefined) return live.past.isRecorded ? undefined : live.channel;
    if (stored !== undefined && stored.isKeptByAgent !== true) return undefined;
    const { agentSessions } = this.#o;
    // It may know what we do not. Where it left the recording to us so far, that is not worth a start.
    const isPlausible = stored !== undefined || history.list().every((known) => known.isKeptByAgent);
    if (!isPlausible && !agentSessions.isAgentRunning) throw notFound(sessionId);
    const channel = await agentSessions.channel();
    if (!(await ownership.isKeptByAgent(channel, sessionId))) throw notFound(sessionId);
    return channel;
  }

  /** What `use` makes of our own recording. @throws ApiError 404: nothing was said in it, or it was removed meanwhile. */
  async #ours(sessionId: string, use: (source: TranscriptSource) => Promise<object>): Promise<JsonRecord> {
    const answer: object | undefined = await this.#o.history.using(sessionId, (source) => {
      if (source.outline.length === 0) throw notFound(sessionId);
      return use(source);
    });
    if (answer === undefined) throw notFound(sessionId);
    return { ...answer };
  }

  #navigates(channel: AgentChannel, sessionId: string): Promise<boolean> {
    let probe = this.#navigating.get(channel);
    if (probe === undefined) {
      probe = this.#probe(channel, sessionId);
      this.#navigating.set(channel, probe);
      // An agent that was too slow to say is asked again.
      probe.catch(() => this.#navigating.delete(channel));
    }
    return probe;
  }

  async #probe(channel: AgentChannel, sessionId: string): Promise<boolean> {
    try {
      const timeoutMs = this.#o.limits.initializeTimeoutMs;
      const answer = await callIfKnown(channel, TURN_INDEX_METHOD, { sessionId, limit: 1 }, timeoutMs);
      return answer !== undefined;
    } catch (error) {
      // Any other refusal is about this session: the method is there.
      if (error instanceof AgentCallError) return true;
      throw channelFailure(error, TURN_INDEX_METHOD);
    }
  }

  async #readFromAgent(channel: AgentChannel, sessionId: string) {
    const options = { timeoutMs: this.#o.limits.initializeTimeoutMs, maxRecords: MAX_RECORDS };
    try {
      return await readAgentTranscript(channel, this.#nameOf(sessionId), options);
    } catch (error) {
      throw channelFailure(error, TRANSCRIPT_METHOD);
    }
  }

  /** As the agent knows it: by its own spelling, and by the directory that it works in, where that is not the workspace. */
  #nameOf(sessionId: string): { readonly sessionId: string; readonly cwd?: string } {
    const stored = this.#o.history.find(sessionId);
    const path = stored?.worktree?.path;
    const spelled = this.#o.sessions.find(sessionId)?.sessionId ?? stored?.sessionId ?? sessionId;
    return { sessionId: spelled, ...(path === undefined ? {} : { cwd: path }) };
  }

  async #ask(channel: AgentChannel, method: string, params: Params): Promise<JsonRecord> {
    try {
      return asRecord(await callIfKnown(channel, method, params, this.#o.limits.initializeTimeoutMs));
    } catch (error) {
      throw refusalOf(error) ?? channelFailure(error, method);
    }
  }
}

/** @throws ApiError 404: nothing has been said in the session yet. */
function shown(view: TranscriptView): TranscriptView {
  if (view.records.length === 0) throw notFound(view.sessionId);
  return view;
}

function notFound(sessionId: string) {
  return fail('session_not_found', 'No transcript of this session', { sessionId });
}

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

const RELAYED = [
  'nextCursor',
  'startTime',
  'lastUpdated',
  'partial',
  'replayError',
  'targetRecordId',
  'hasOlder',
];

/** The agent's page; ids of its events mean nothing on our buses. */
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
