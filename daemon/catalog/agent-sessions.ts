// The sessions that an agent keeps itself: states the sessions of the agent's list in the daemon's history store, and has the
// agent delete a session that a client deletes.
import { AgentCallError, type AgentChannel, type AgentHost } from '../agent/agent.ts';
import { callIfKnown } from '../agent/extensions.ts';
import { channelFailure } from '../agent/failures.ts';
import type { IdleRetirement } from '../agent/idle-retirement.ts';
import { canonicalPath } from '../contract/canonical-path.ts';
import type { Clock } from '../contract/clock.ts';
import { fail } from '../contract/errors.ts';
import { asRecord, isRecord, type JsonRecord, recordsIn } from '../contract/json-record.ts';
import type { Limits } from '../contract/limits.ts';
import type { Log } from '../contract/log.ts';
import type { History, StoredSession } from '../history/history.ts';

export interface AgentSessionsDeps {
  /** Canonical path. */
  readonly workspace: string;
  readonly agent: AgentHost;
  readonly retirement: Pick<IdleRetirement, 'begin'>;
  readonly history: History;
  readonly clock: Clock;
  readonly limits: Pick<Limits, 'initializeTimeoutMs' | 'channelIdleTimeoutMs' | 'agentAnswerTimeoutMs'>;
  readonly log: Log;
}

/** For this long after the agent was asked for its list of sessions, the agent is not asked again. */
const REFRESH_MS = 2000;
/** How long the daemon waits for the agent's list of sessions, all pages together. */
const LIST_TIMEOUT_MS = 2000;
const PAGE_SIZE = 100;
/** How many sessions of the agent's list are read at most; agents list the newest first. */
const MAX_LISTED = 2000;

export class AgentSessions {
  readonly #deps: AgentSessionsDeps;
  #refresh: { readonly sinceMs: number; readonly done: Promise<void> } | undefined;

  constructor(deps: AgentSessionsDeps) {
    this.#deps = deps;
  }

  get isAgentRunning(): boolean {
    return this.#deps.agent.current() !== undefined;
  }

  /**
   * States the sessions of the agent's list in the history store, if an agent is running and can list. Starts no agent, because
   * a listing is no work for the agent. Never rejects.
   */
  refresh(): Promise<void> {
    const nowMs = this.#deps.clock.monotonicMs();
    const channel = this.#deps.agent.current();
    if (channel === undefined || !canList(channel)) return Promise.resolve();
    if (this.#refresh === undefined || nowMs - this.#refresh.sinceMs >= REFRESH_MS)
      this.#refresh = { sinceMs: nowMs, done: this.#takeOver(channel) };
    return this.#refresh.done;
  }

  /**
   * The channel of the running agent; without one, starts an agent, which is ended again if it gets no session.
   * @throws ApiError 503 when the agent cannot be started.
   */
  async channel(): Promise<AgentChannel> {
    const { agent: host, limits, retirement } = this.#deps;
    const running = host.current();
    if (running !== undefined) return running;
    try {
      const channel = await host.channel();
      retirement.begin(Math.max(limits.channelIdleTimeoutMs, limits.agentAnswerTimeoutMs));
      return channel;
    } catch (error) {
      throw channelFailure(error, 'channel.initialize');
    }
  }

  /**
   * Has the agent delete its transcript of a session that is not live.
   * @throws ApiError 501 when the agent cannot delete sessions, or declines; 503 or 504 when the agent does not answer.
   */
  async remove(sessionId: string): Promise<void> {
    const channel = await this.channel();
    const timeoutMs = this.#deps.limits.initializeTimeoutMs;
    try {
      if (sessionCapabilities(channel).delete != null) {
        await channel.request('session/delete', { sessionId }, timeoutMs);
        return;
      }
      const cwd = this.#deps.history.find(sessionId)?.worktree?.path ?? this.#deps.workspace;
      const params = { sessionId, cwd };
      const answer = await callIfKnown(channel, 'deleteSession', params, timeoutMs);
      if (answer !== undefined && asRecord(answer).success !== false) return;
    } catch (error) {
      if (!(error instanceof AgentCallError)) throw channelFailure(error, 'session/delete');
    }
    throw fail('not_implemented', 'The agent keeps the transcript of this session and did not delete it', {
      sessionId,
    });
  }

  async #takeOver(channel: AgentChannel): Promise<void> {
    const { clock, log } = this.#deps;
    const untilMs = clock.monotonicMs() + LIST_TIMEOUT_MS;
    let cursor: string | undefined;
    let seen = 0;
    try {
      do {
        const params = {
          cwd: this.#deps.workspace,
          _meta: { size: PAGE_SIZE },
          ...(cursor ? { cursor } : {}),
        };
        const leftMs = Math.max(1, untilMs - clock.monotonicMs());
        const page = asRecord(await channel.request('session/list', params, leftMs));
        const found = recordsIn(page.sessions);
        for (const item of found) this.#state(item);
        seen += found.length;
        // The cursor of an empty page is ignored: following it could go on for ever.
        cursor = typeof page.nextCursor === 'string' && found.length > 0 ? page.nextCursor : undefined;
      } while (cursor !== undefined && seen < MAX_LISTED);
    } catch (error) {
      log.debug({ err: error }, 'the agent did not list its sessions');
    }
  }

  /**
   * States the session of one item of the agent's list in the history store, if the item has news. Leaves out a session that the
   * daemon records, and a live session: their recordings write the statements.
   */
  #state(item: JsonRecord): void {
    const { history, workspace, clock } = this.#deps;
    const { sessionId, cwd } = item;
    if (typeof sessionId !== 'string' || sessionId === '') return;
    if (typeof cwd === 'string' && canonicalPath(cwd) !== workspace) return;
    const known = history.find(sessionId);
    if (known !== undefined && known.isKeptByAgent !== true) return;
    const stated = statedOf(sessionId, item, known, { workspaceCwd: workspace, nowMs: clock.nowMs() });
    if (known === undefined || !isSame(known, stated)) history.state(stated);
  }
}

function sessionCapabilities(channel: AgentChannel): JsonRecord {
  return asRecord(asRecord(channel.initialized.agentCapabilities).sessionCapabilities);
}

function canList(channel: AgentChannel): boolean {
  return isRecord(sessionCapabilities(channel).list);
}

/** The title that a qwen agent lists for a session without a title or a first prompt. */
const NAMELESS = '(session)';

function statedOf(
  sessionId: string,
  { title, updatedAt, _meta }: JsonRecord,
  known: StoredSession | undefined,
  { workspaceCwd, nowMs }: { readonly workspaceCwd: string; readonly nowMs: number },
): StoredSession {
  const { createdAt, titleSource } = asRecord(_meta);
  const updatedAtMs = timeOf(updatedAt) ?? known?.updatedAtMs ?? nowMs;
  const { isBlank: _, ...facts } = known ?? {
    workspaceCwd,
    createdAtMs: timeOf(createdAt) ?? updatedAtMs,
    isArchived: false,
  };
  const isNamed = typeof title === 'string' && title !== '' && title !== NAMELESS;
  // A name that a person gave the session through the daemon is kept.
  const isRenamed = isNamed && known?.titleSource !== 'manual';
  const source = titleSource === 'manual' || titleSource === 'auto' ? ({ titleSource } as const) : {};
  const name = isRenamed ? { displayName: title, ...source } : {};
  return { ...facts, ...name, sessionId, updatedAtMs, isKeptByAgent: true };
}

/** Two times of the last write to a session count as the same if they differ by less than this. */
const SAME_TIME_MS = 60_000;

/** Whether a statement of `b` would change nothing in the history store, which has `a`. */
function isSame(a: StoredSession, b: StoredSession): boolean {
  return (
    a.displayName === b.displayName &&
    a.titleSource === b.titleSource &&
    a.isBlank === b.isBlank &&
    // The daemon's file has the time of the session's close, the agent's list the time of the agent's last write.
    Math.abs(a.updatedAtMs - b.updatedAtMs) < SAME_TIME_MS
  );
}

function timeOf(value: unknown): number | undefined {
  const atMs = typeof value === 'string' ? Date.parse(value) : Number.NaN;
  return Number.isNaN(atMs) ? undefined : atMs;
}
