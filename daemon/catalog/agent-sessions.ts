// The sessions that an agent keeps itself: the sessions that it lists are stated in our history too, and a session that is
// deleted here is deleted in the agent.
import { AgentCallError, type AgentChannel, type AgentHost } from '../agent/agent.ts';
import { callIfKnown } from '../agent/extensions.ts';
import { channelFailure } from '../agent/failures.ts';
import { IdleRetirement } from '../agent/idle-retirement.ts';
import { canonicalPath } from '../contract/canonical-path.ts';
import type { Clock } from '../contract/clock.ts';
import { fail } from '../contract/errors.ts';
import { asRecord, isRecord, type JsonRecord, recordsIn } from '../contract/json-record.ts';
import type { Limits } from '../contract/limits.ts';
import type { Log } from '../contract/log.ts';
import type { History, StoredSession } from '../history/history.ts';
import type { SessionRegister } from '../sessions/register.ts';

export interface AgentSessionsDeps {
  /** Canonical path. */
  readonly workspace: string;
  readonly agent: AgentHost;
  readonly register: Pick<SessionRegister, 'isEmpty'>;
  readonly history: History;
  readonly clock: Clock;
  readonly limits: Pick<Limits, 'initializeTimeoutMs' | 'channelIdleTimeoutMs' | 'agentAnswerTimeoutMs'>;
  readonly log: Log;
}

/** For this long after a listing, further listings show what it found. */
const REFRESH_MS = 2000;
/** How long a listing waits for the agent's own list. */
const LIST_TIMEOUT_MS = 2000;
const PAGE_SIZE = 100;
/** How many sessions of the agent's list are read, newest first. */
const MAX_LISTED = 2000;

export class AgentSessions {
  readonly #deps: AgentSessionsDeps;
  /** Ends an agent that was started for a request about a session at rest. */
  readonly #retirement: IdleRetirement;
  #refresh: { readonly sinceMs: number; readonly done: Promise<void> } | undefined;

  constructor(deps: AgentSessionsDeps) {
    this.#deps = deps;
    const { agent, clock, limits, register } = deps;
    this.#retirement = new IdleRetirement({
      agent,
      clock,
      idleMs: Math.max(limits.channelIdleTimeoutMs, limits.agentAnswerTimeoutMs),
      isUnused: () => register.isEmpty,
    });
  }

  get isAgentRunning(): boolean {
    return this.#deps.agent.current() !== undefined;
  }

  /**
   * Takes the agent's list into our history, if an agent is running that can list. Starts no agent: a listing is no work.
   * Never rejects.
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
   * The channel of a running agent. An agent that has to be started for it is retired again when no session has come to it.
   * @throws ApiError 503
   */
  async channel(): Promise<AgentChannel> {
    const host = this.#deps.agent;
    const running = host.current();
    if (running !== undefined) return running;
    try {
      const channel = await host.channel();
      this.#retirement.begin();
      return channel;
    } catch (error) {
      throw channelFailure(error, 'channel.initialize');
    }
  }

  /**
   * Has the agent delete its transcript of a session that is not live.
   * @throws ApiError 501 when the agent cannot delete sessions, or declines; 503, 504
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
        // A cursor behind an empty page would be followed for ever.
        cursor = typeof page.nextCursor === 'string' && found.length > 0 ? page.nextCursor : undefined;
      } while (cursor !== undefined && seen < MAX_LISTED);
    } catch (error) {
      log.debug({ err: error }, 'the agent did not list its sessions');
    }
  }

  /**
   * States in our history what is new in an item of the agent's list. A session that we record is left out, and so is a
   * live session: their recordings state them.
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
  // A name that a person gave the session here is kept.
  const isRenamed = isNamed && known?.titleSource !== 'manual';
  const source = titleSource === 'manual' || titleSource === 'auto' ? ({ titleSource } as const) : {};
  const name = isRenamed ? { displayName: title, ...source } : {};
  return { ...facts, ...name, sessionId, updatedAtMs, isKeptByAgent: true };
}

/** Times that are less than this apart say that nothing was written to the session in between. */
const SAME_TIME_MS = 60_000;

/** Whether stating `b` would change nothing in our history, which has `a`. */
function isSame(a: StoredSession, b: StoredSession): boolean {
  return (
    a.displayName === b.displayName &&
    a.titleSource === b.titleSource &&
    a.isBlank === b.isBlank &&
    // Our file says when the session was closed, the agent says when it last wrote to it: nearby times mean the same.
    Math.abs(a.updatedAtMs - b.updatedAtMs) < SAME_TIME_MS
  );
}

function timeOf(value: unknown): number | undefined {
  const atMs = typeof value === 'string' ? Date.parse(value) : Number.NaN;
  return Number.isNaN(atMs) ? undefined : atMs;
}
