// Restores one session on the agent under its old id: `session/load` or `session/resume`, its past from our transcript or from
// the agent's replay, and a bus whose ids go on above every earlier one.
import { existsSync } from 'node:fs';
import { AgentCallError, type AgentChannel, type Params, RESOURCE_NOT_FOUND } from '../agent/agent.ts';
import { channelFailure, checkAlive } from '../agent/failures.ts';
import type { Timer } from '../contract/clock.ts';
import { fail } from '../contract/errors.ts';
import { asRecord, isRecord } from '../contract/json-record.ts';
import type { SessionSource } from '../contract/session-source.ts';
import type { SessionCheckout } from '../domain/checkout-request.ts';
import type { PromptTerminal } from '../domain/prompt-terminal.ts';
import { updateOf } from '../domain/transcript.ts';
import type { StoredSession, StoredTranscript } from '../history/history.ts';
import type { SessionHistory } from '../history/session-history.ts';
import type { TranscriptOwnership } from '../history/transcript-ownership.ts';
import { Session, type SessionServices } from '../session/session.ts';
import type { AgentEventRouter } from '../sessions/agent-event-router.ts';
import type { SessionOpener } from '../sessions/opener.ts';
import type { AbandonedRestores } from './abandoned-restores.ts';
import type { RestoreIntent } from './intent.ts';
import { type Bulk, LoadReplay, type ReplayDamage, takeBulk } from './load-replay.ts';
import { endsIn, type LostPrompts } from './lost-prompts.ts';

export interface SessionRestorerDeps {
  /** Canonical path. */
  readonly workspace: string;
  readonly services: SessionServices;
  readonly opener: SessionOpener;
  readonly ownership: TranscriptOwnership;
  readonly lostPrompts: LostPrompts;
  readonly router: Pick<AgentEventRouter, 'collect'>;
  readonly abandoned: AbandonedRestores;
}

export interface RestoredSession {
  readonly session: Session;
  /** Models, modes and options as the agent answered them. */
  readonly state: Params;
  readonly damage: ReplayDamage;
}

/** A session that is being restored, once the agent runs. */
interface Restoring {
  /** The intent, with the session's id as the agent spells it. */
  readonly intent: RestoreIntent;
  readonly channel: AgentChannel;
  readonly method: 'session/load' | 'session/resume';
  /** What our history has of the session. */
  readonly stored: StoredSession | undefined;
}

/** Where the past of a restored session can come from. */
interface PastSources {
  readonly transcript: StoredTranscript | undefined;
  readonly ends: readonly PromptTerminal[];
  readonly replay: LoadReplay;
  readonly bulk: Bulk;
  readonly isKeptByAgent: boolean;
}

const REPLAY_MODE_KEY = 'qwen.session.loadReplayMode';

export class SessionRestorer {
  readonly #deps: SessionRestorerDeps;

  constructor(deps: SessionRestorerDeps) {
    this.#deps = deps;
  }

  /** Restores a session; the id is reserved in the tick of the call. @throws ApiError 404, 409, 500, 501, 503, 504 */
  restore(intent: RestoreIntent): Promise<RestoredSession> {
    return this.#deps.opener.open(intent.sessionId, () => this.#restore(intent));
  }

  async #restore(asked: RestoreIntent): Promise<RestoredSession> {
    const { opener, ownership, lostPrompts, router } = this.#deps;
    const { history } = ownership;
    const stored = history.find(asked.sessionId);
    // From here on the id is spelled as the agent spells it: the agent may find the session under no other spelling.
    const sessionId = stored?.sessionId ?? asked.spelling ?? asked.sessionId;
    const intent = { ...asked, sessionId };
    const channel = await opener.channel();
    const restoring = { intent, channel, method: methodFor(intent, channel, stored), stored };
    const replay = new LoadReplay();
    const stop = router.collect(sessionId, (params) => replay.add(params));
    let answer: Params;
    try {
      answer = await this.#callAgent(restoring);
    } finally {
      stop();
    }
    const bulk = takeBulk(answer);
    const transcript = stored === undefined ? undefined : await history.read(sessionId);
    const ends = endsIn(transcript?.records ?? []);
    const hasOwn = isOurs(stored) && transcript !== undefined;
    const isKeptByAgent = !hasOwn && (await ownership.isKeptByAgent(channel, sessionId));
    // From here to the registration in one tick: a transcript that was begun is always closed by its session.
    checkAlive(channel, restoring.method);
    opener.checkMayRegister(sessionId);
    const { past, damage } = this.#pastOf(restoring, { transcript, ends, replay, bulk, isKeptByAgent });
    const session = this.#sessionOf(restoring, past);
    session.settings.seed(bulk.state);
    opener.register(session);
    // The transcript of a daemon that was killed ends inside a turn.
    const open = past.replay.openPromptId;
    const lost = new Set([...(intent.known?.lostPrompts ?? []), ...(open === undefined ? [] : [open])]);
    lostPrompts.settle(session, [...lost], ends);
    past.replay.finishTurn();
    for (const params of replay.rest()) session.agentUpdate(params);
    return { session, state: bulk.state, damage };
  }

  /** Has the agent load or resume the session. @throws ApiError; a 504 leaves the call running at the agent, as an abandoned restore. */
  async #callAgent({ intent, channel, method, stored }: Restoring): Promise<Params> {
    const { opener, ownership, services, abandoned } = this.#deps;
    const { sessionId } = intent;
    const timeoutMs = services.limits.sessionRestoreTimeoutMs;
    const cwd = this.#workingDirectoryOf(sessionId, stored);
    const bulk = method === 'session/load' ? { _meta: { [REPLAY_MODE_KEY]: 'bulk' } } : {};
    const call = channel.request(method, { sessionId, cwd, mcpServers: [], ...bulk }, undefined);
    let isLate = false;
    let deadline: Timer | undefined;
    const tooLate = new Promise<never>((_, reject) => {
      deadline = services.clock.after(timeoutMs, () => {
        isLate = true;
        reject(timeoutOf(sessionId, method, timeoutMs));
      });
    });
    try {
      return asRecord(await Promise.race([call, tooLate]));
    } catch (error) {
      if (isLate) {
        abandoned.add({ sessionId, channel, isOfCoordinator: intent.known !== undefined, call });
        opener.retireIfOtherwiseUnused(channel);
      }
      if (error instanceof AgentCallError && isUnknownSession(error)) {
        // The agent has no such session any more. Our own recording of the session can still be read; without one, the session is
        // not listed any more.
        if (!isOurs(stored)) ownership.history.remove(sessionId);
        throw notFound(sessionId);
      }
      throw channelFailure(error, method);
    } finally {
      deadline?.cancel();
    }
  }

  /** The directory in which the session worked. @throws ApiError 409: its worktree is gone, and it must not go on in another directory. */
  #workingDirectoryOf(sessionId: string, stored: StoredSession | undefined): string {
    const path = stored?.worktree?.path;
    if (path === undefined || existsSync(path)) return path ?? this.#deps.workspace;
    throw fail('worktree_missing', `The worktree of the session is gone: ${path}`, { sessionId, path });
  }

  /** Our transcript where there is one: it has what clients saw. Else the agent's replay, with the ends that only we know. */
  #pastOf(
    { intent, stored }: Restoring,
    { transcript, ends, replay, bulk, isKeptByAgent }: PastSources,
  ): { readonly past: SessionHistory; readonly damage: ReplayDamage } {
    const { ownership, workspace, services } = this.#deps;
    const { sessionId, source, known } = intent;
    const nowMs = services.clock.nowMs();
    if (isOurs(stored) && transcript !== undefined) {
      const past = ownership.recordedHistory(stored);
      past.seedFrom(transcript);
      return { past, damage: transcript.isPartial ? { partial: true } : {} };
    }
    const updates = [...replay.updates(), ...bulk.updates.map((update) => ({ sessionId, update }))];
    const createdAtMs = known?.createdAtMs ?? timestampOf(updates[0] ?? {}) ?? nowMs;
    const session = { sessionId, workspaceCwd: workspace, createdAtMs, ...source };
    const past = isKeptByAgent ? ownership.statedHistory(session) : ownership.recordedHistory(session);
    for (const update of updates) past.seedUpdate(update, timestampOf(update) ?? nowMs);
    past.replay.finishTurn();
    past.replay.remember(ends);
    const hasUnseenPast = bulk.hasMore || (intent.action === 'resume' && updates.length === 0);
    past.noteMissing({ turns: 0, events: replay.dropped }, hasUnseenPast);
    return { past, damage: bulk.damage };
  }

  #sessionOf({ intent, channel, stored }: Restoring, past: SessionHistory): Session {
    const { workspace, services } = this.#deps;
    const { sessionId, known } = intent;
    const createdAtMs =
      known?.createdAtMs ?? stored?.createdAtMs ?? past.seededSinceMs ?? services.clock.nowMs();
    const facts = {
      sessionId,
      workspaceCwd: workspace,
      channel,
      source: { ...sourceOf(stored), ...intent.source },
      checkout: checkoutOf(stored),
      past,
      before: {
        createdAtMs,
        displayName: known?.displayName ?? stored?.displayName,
        idFloor: known?.idFloor ?? 0,
        clients: known?.clients ?? [],
      },
    };
    return new Session(facts, services);
  }
}

/** Whether our transcript has what was said in the session. */
function isOurs(stored: StoredSession | undefined): stored is StoredSession {
  return stored !== undefined && stored.isKeptByAgent !== true;
}

/** The agent's method that restores the session. @throws ApiError 404 where neither side knows the session, 501 where the agent cannot restore it. */
function methodFor(
  { action, sessionId }: RestoreIntent,
  channel: AgentChannel,
  stored: StoredSession | undefined,
): Restoring['method'] {
  const capabilities = asRecord(channel.initialized.agentCapabilities);
  if (action === 'resume' && isRecord(asRecord(capabilities.sessionCapabilities).resume))
    return 'session/resume';
  if (channel.process.canLoad) return 'session/load';
  if (stored === undefined) throw notFound(sessionId);
  throw fail('not_implemented', 'The agent cannot load sessions: this one can be read but not continued', {
    sessionId,
    capability: 'loadSession',
  });
}

function notFound(sessionId: string) {
  return fail('session_not_found', 'No such session', { sessionId });
}

function timeoutOf(sessionId: string, phase: string, timeoutMs: number) {
  return fail('restore_timeout', `The agent did not load the session within ${timeoutMs} ms`, {
    sessionId,
    errorKind: 'restore_timeout',
    retryable: true,
    phase,
    timeoutMs,
  });
}

function isUnknownSession({ code, message, data }: AgentCallError): boolean {
  const { errorKind, details } = asRecord(data);
  if (code === RESOURCE_NOT_FOUND || errorKind === 'session_not_found') return true;
  return /session.*(not found|unknown|does not exist)|(unknown|no such).*session/i.test(
    `${message} ${String(details)}`,
  );
}

/** Epoch ms of an update, as the agent says; undefined where it does not. */
function timestampOf(params: Params): number | undefined {
  const { timestamp } = asRecord(updateOf(params)._meta);
  return typeof timestamp === 'number' && Number.isSafeInteger(timestamp) ? timestamp : undefined;
}

function checkoutOf({ worktree, branch }: Partial<StoredSession> = {}): SessionCheckout {
  return { ...(worktree === undefined ? {} : { worktree }), ...(branch === undefined ? {} : { branch }) };
}

function sourceOf(stored: StoredSession | undefined): SessionSource {
  const { sourceType, sourceId } = stored ?? {};
  return {
    ...(sourceType === undefined ? {} : { sourceType }),
    ...(sourceId === undefined ? {} : { sourceId }),
  };
}
