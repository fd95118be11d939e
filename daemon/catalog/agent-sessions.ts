// Sessions that an agent keeps itself: what it lists is stated in our history too, and what is deleted here is deleted
// there.
import { AgentCallError, type AgentChannel, type AgentHost } from '../agent/agent.ts';
import { callIfKnown } from '../agent/extensions.ts';
import { channelFailure } from '../agent/failures.ts';
import { canonicalPath } from '../contract/canonical-path.ts';
import type { Clock } from '../contract/clock.ts';
import { fail } from '../contract/errors.ts';
import { asRecord, isRecord, type JsonRecord } from '../contract/json-record.ts';
import type { Limits } from '../contract/limits.ts';
import type { Log } from '../contract/log.ts';
import type { History, StoredSession } from '../history/history.ts';
import type { LiveSessions } from '../sessions/live-sessions.ts';

export interface AgentSessionsOptions {
  /** Canonical path. */
  readonly workspace: string;
  readonly agent: () => AgentHost;
  readonly sessions: LiveSessions;
  readonly history: History;
  readonly clock: Clock;
  readonly limits: Pick<Limits, 'initializeTimeoutMs' | 'channelIdleTimeoutMs' | 'agentAnswerTimeoutMs'>;
  readonly log: Log;
}

/** A listing that comes sooner after another one shows what that one found. */
const REFRESH_MS = 2000;
/** A listing waits no longer for the agent's. */
const LIST_TIMEOUT_MS = 2000;
const PAGE_SIZE = 100;
/** Sessions of the agent that are looked at, newest first. */
const MAX_LISTED = 2000;

export class AgentSessions {
  readonly #o: AgentSessionsOptions;
  #refresh: { readonly sinceMs: number; readonly done: Promise<void> } | undefined;

  constructor(options: AgentSessionsOptions) {
    this.#o = options;
  }

  get isAgentRunning(): boolean {
    return this.#o.agent().current() !== undefined;
  }

  /** Takes over what the agent lists, where it runs and can. Starts none: a listing is no work. Never rejects. */
  refresh(): Promise<void> {
    const nowMs = this.#o.clock.monotonicMs();
    const channel = this.#o.agent().current();
    if (channel === undefined || !canList(channel)) return Promise.resolve();
    if (this.#refresh === undefined || nowMs - this.#refresh.sinceMs >= REFRESH_MS)
      this.#refresh = { sinceMs: nowMs, done: this.#takeOver(channel) };
    return this.#refresh.done;
  }

  /** The agent, running; started for a request about a session at rest, it goes when nobody came for it. @throws ApiError 503 */
  async channel(): Promise<AgentChannel> {
    const host = this.#o.agent();
    const running = host.current();
    if (running !== undefined) return running;
    try {
      const channel = await host.channel();
      this.#retireUnused();
      return channel;
    } catch (error) {
      throw channelFailure(error, 'channel.initialize');
    }
  }

  /**
   * Has the agent delete its transcript of a session that is not live.
   * @throws ApiError 501 where it has no way to, or declines; 503, 504
   */
  async remove(sessionId: string): Promise<void> {
    const channel = await this.channel();
    const timeoutMs = this.#o.limits.initializeTimeoutMs;
    try {
      if (sessionCapabilities(channel).delete != null) {
        await channel.request('session/delete', { sessionId }, timeoutMs);
        return;
      }
      const cwd = this.#o.history.find(sessionId)?.worktree?.path ?? this.#o.workspace;
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
    const { clock, log } = this.#o;
    const untilMs = clock.monotonicMs() + LIST_TIMEOUT_MS;
    let cursor: string | undefined;
    let seen = 0;
    try {
      do {
        const params = { cwd: this.#o.workspace, _meta: { size: PAGE_SIZE }, ...(cursor ? { cursor } : {}) };
        const leftMs = Math.max(1, untilMs - clock.monotonicMs());
        const page = asRecord(await channel.request('session/list', params, leftMs));
        const found = Array.isArray(page.sessions) ? page.sessions.filter(isRecord) : [];
        for (const item of found) this.#state(item);
        seen += found.length;
        // A cursor behind an empty page would be followed for ever.
        cursor = typeof page.nextCursor === 'string' && found.length > 0 ? page.nextCursor : undefined;
      } while (cursor !== undefined && seen < MAX_LISTED);
    } catch (error) {
      log.debug({ err: error }, 'the agent did not list its sessions');
    }
  }

  /** States what is new in an item of the agent's list. A session that we record states itself, and so does a live one. */
  #state(item: JsonRecord): void {
    const { history, workspace, clock } = this.#o;
    const { sessionId, cwd } = item;
    if (typeof sessionId !== 'string' || sessionId === '') return;
    if (typeof cwd === 'string' && canonicalPath(cwd) !== workspace) return;
    const known = history.find(sessionId);
    if (known !== undefined && known.isKeptByAgent !== true) return;
    const stated = statedOf(sessionId, item, known, { workspaceCwd: workspace, nowMs: clock.nowMs() });
    if (known === undefined || !isSame(known, stated)) history.state(stated);
  }

  #retireUnused(): void {
    const { sessions, clock, limits } = this.#o;
    clock.after(Math.max(limits.channelIdleTimeoutMs, limits.agentAnswerTimeoutMs), () => {
      const host = this.#o.agent();
      const channel = host.current();
      if (channel !== undefined && sessions.liveCount === 0 && !sessions.isOpening) void host.retire(channel);
    });
  }
}

function sessionCapabilities(channel: AgentChannel): JsonRecord {
  return asRecord(asRecord(channel.initialized.agentCapabilities).sessionCapabilities);
}

function canList(channel: AgentChannel): boolean {
  return isRecord(sessionCapabilities(channel).list);
}

/** What a qwen agent calls a session without a title or a first prompt. */
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
  // What a person called it here stands.
  const isRenamed = isNamed && known?.titleSource !== 'manual';
  const source = titleSource === 'manual' || titleSource === 'auto' ? ({ titleSource } as const) : {};
  const name = isRenamed ? { displayName: title, ...source } : {};
  return { ...facts, ...name, sessionId, updatedAtMs, isKeptByAgent: true };
}

function isSame(a: StoredSession, b: StoredSession): boolean {
  return (
    a.displayName === b.displayName &&
    a.titleSource === b.titleSource &&
    a.isBlank === b.isBlank &&
    // The file of a session of our own says when it was closed, the agent when it last wrote: both mean the same.
    Math.abs(a.updatedAtMs - b.updatedAtMs) < SAME_TIME_MS
  );
}

const SAME_TIME_MS = 60_000;

function timeOf(value: unknown): number | undefined {
  const atMs = typeof value === 'string' ? Date.parse(value) : Number.NaN;
  return Number.isNaN(atMs) ? undefined : atMs;
}
