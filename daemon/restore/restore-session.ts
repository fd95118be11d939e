// Restores one session on the agent under its old id: calls `session/load` or `session/resume`, takes the past from the daemon's
// transcript or from the agent's replay, and makes a bus whose event ids go on above every earlier id.
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
  /** Canonical path of the workspace. */
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
  /** Models, modes and options, from the agent's answer to `session/load` or `session/resume`. */
  readonly state: Params;
  readonly damage: ReplayDamage;
}

/** A restore that is under way, once the agent runs. */
interface Restoring {
  /** The request for the restore, with the session's id as the agent spells it. */
  readonly intent: RestoreIntent;
  readonly channel: AgentChannel;
  readonly method: 'session/load' | 'session/resume';
  /** The session as the daemon's history has it; undefined where the history does not have it. */
  readonly stored: StoredSession | undefined;
}

/** The sources from which the past of a restored session is taken. */
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

  /** Restores a session; reserves the id in the tick of the call. @throws ApiError 404, 409, 500, 501, 503, 504 */
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
    // From here to the registration nothing is awaited: the transcript that is begun here is closed only by a registered session.
    checkAlive(channel, restoring.method);
    opener.checkMayRegister(sessionId);
    const { past, damage } = this.#pastOf(restoring, { transcript, ends, replay, bulk, isKeptByAgent });
    const session = this.#sessionOf(restoring, past);
    session.settings.seed(bulk.state);
    opener.register(session);
    // A prompt that is open in the transcript is lost too: the transcript of a daemon that was killed ends inside a turn.
    const open = past.replay.openPromptId;
    const lost = new Set([...(intent.known?.lostPrompts ?? []), ...(open === undefined ? [] : [open])]);
    lostPrompts.settle(session, [...lost], ends);
    past.replay.finishTurn();
    for (const params of replay.rest()) session.agentUpdate(params);
    return { session, state: bulk.state, damage };
  }

  /**
   * Has the agent load or resume the session. After a timeout the call goes on at the agent, as an abandoned restore.
   * @throws ApiError
   */
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
        // The agent does not have the session any more. The daemon's own recording can still be read; a session without a
        // recording is not listed any more.
        if (!isOurs(stored)) ownership.history.remove(sessionId);
        throw notFound(sessionId);
      }
      throw channelFailure(error, method);
    } finally {
      deadline?.cancel();
    }
  }

  /**
   * The directory in which the session worked.
   * @throws ApiError 409 where its worktree is gone: the session must not go on in another directory.
   */
  #workingDirectoryOf(sessionId: string, stored: StoredSession | undefined): string {
    const path = stored?.worktree?.path;
    if (path === undefined || existsSync(path)) return path ?? this.#deps.workspace;
    throw fail('worktree_missing', `The worktree of the session is gone: ${path}`, { sessionId, path });
  }

  /**
   * The past of the session: the daemon's transcript where there is one, because it has what clients saw. Else the agent's
   * replay, with the ends of prompts that only the daemon has stored.
   */
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

/** Whether the daemon's own transcript has what was said in the session; false where the agent keeps the transcript. */
function isOurs(stored: StoredSession | undefined): stored is StoredSession {
  return stored !== undefined && stored.isKeptByAgent !== true;
}

/**
 * The agent's method that restores the session. Where the agent cannot restore sessions:
 * @throws ApiError 404 for a session that the daemon's history does not have either, 501 for any other.
 */
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

/** Time of an update, epoch ms, as the agent gives it; undefined where the agent gives none. */
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
