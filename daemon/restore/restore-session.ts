// One session brought back on the agent under its old id: `session/load` or `session/resume`, its past from our transcript
// or from what the agent tells, and a bus whose ids go on above everything that was.
import { existsSync } from 'node:fs';
import { AgentCallError, type AgentChannel, type Params, RESOURCE_NOT_FOUND } from '../agent/agent.ts';
import { channelFailure, checkAlive } from '../agent/failures.ts';
import type { Timer } from '../contract/clock.ts';
import { fail } from '../contract/errors.ts';
import type { FeedClient } from '../contract/feed.ts';
import { asRecord, isRecord } from '../contract/json-record.ts';
import type { SessionSource } from '../contract/session-source.ts';
import type { ApprovalMode } from '../contract/wire.ts';
import type { SessionCheckout } from '../domain/checkout-request.ts';
import type { PromptTerminal } from '../domain/prompt-terminal.ts';
import { updateOf } from '../domain/transcript.ts';
import type { StoredSession, StoredTranscript } from '../history/history.ts';
import type { SessionHistory } from '../history/session-history.ts';
import type { Session } from '../session/session.ts';
import { type SpawnContext, sessionOf, startedChannel } from '../sessions/create.ts';
import { type Bulk, LoadReplay, type ReplayDamage, takeBulk } from './load-replay.ts';
import { endsIn, settleLost } from './lost-prompts.ts';

export type RestoreAction = 'load' | 'resume';

export interface RestoreIntent {
  /** In its lookup form. */
  readonly sessionId: string;
  /** As the agent spells it, where the caller knows; what is stored of the session knows better. */
  readonly spelling?: string;
  readonly action: RestoreAction;
  readonly source: SessionSource;
  /** What this caller wants, which is no matter of those who share the restore. */
  readonly approvalMode: ApprovalMode | undefined;
  /** What the coordinator knows of the session; undefined for a client's request. */
  readonly known: KnownSession | undefined;
}

export interface KnownSession {
  readonly idFloor: number;
  readonly createdAtMs: number;
  readonly displayName: string | undefined;
  readonly clients: readonly FeedClient[];
  /** Prompts that were admitted and, for all the coordinator knows, never settled. */
  readonly lostPrompts: readonly string[];
}

export interface RestoreContext extends SpawnContext {
  /** Diverts the session's updates, see `SessionSink.collect`. */
  readonly collect: (sessionId: string, onUpdate: (params: Params) => void) => () => void;
  /** The call goes on at the agent after its caller was told of a timeout; settles when it has ended for good. */
  readonly abandon: (sessionId: string, ended: Promise<void>) => void;
}

export interface RestoredSession {
  readonly session: Session;
  /** Models, modes and options as the agent answered them. */
  readonly state: Params;
  readonly damage: ReplayDamage;
}

const REPLAY_MODE_KEY = 'qwen.session.loadReplayMode';

/** @throws ApiError 404, 500, 501, 503, 504 */
export async function restoreOnAgent(
  asked: RestoreIntent,
  context: RestoreContext,
): Promise<RestoredSession> {
  const { history } = context.ownership;
  const stored = history.find(asked.sessionId);
  // From here on by the agent's own spelling: it may look up nothing else.
  const sessionId = stored?.sessionId ?? asked.spelling ?? asked.sessionId;
  const intent = { ...asked, sessionId };
  const channel = await startedChannel(context);
  const method = methodFor(intent, channel, stored);
  const cwd = placeOf(sessionId, stored, context);
  const told = new LoadReplay();
  const stop = context.collect(sessionId, (params) => told.add(params));
  let answer: Params;
  try {
    answer = await callAgent(intent, { method, cwd }, channel, stored, context);
  } finally {
    stop();
  }
  const bulk = takeBulk(answer);
  const transcript = stored === undefined ? undefined : await history.read(sessionId);
  const ends = endsIn(transcript?.records ?? []);
  const hasOwn = isOurs(stored) && transcript !== undefined;
  const isKeptByAgent = !hasOwn && (await context.ownership.isKeptByAgent(channel, sessionId));
  // From here to the registration in one tick: a past that was opened always comes to a session that closes it.
  checkAlive(channel, method);
  context.checkAdmission(sessionId);
  const { past, damage } = pastOf(intent, { stored, transcript, ends, told, bulk, isKeptByAgent }, context);
  const session = bringUp(intent, channel, stored, past, context);
  session.settings.seed(bulk.state);
  context.register(session);
  // The transcript of a daemon that was killed ends inside a turn.
  const open = past.replay.openPromptId;
  const lost = new Set([...(intent.known?.lostPrompts ?? []), ...(open === undefined ? [] : [open])]);
  settleLost(session, [...lost], ends, context);
  past.replay.finishTurn();
  for (const params of told.rest()) session.agentUpdate(params);
  return { session, state: bulk.state, damage };
}

/** Whether what was said in the session is in our transcript. */
function isOurs(stored: StoredSession | undefined): stored is StoredSession {
  return stored !== undefined && stored.isKeptByAgent !== true;
}

/** @throws ApiError 404 for what nobody knows, 501 where the agent cannot bring back what we know. */
function methodFor(
  { action, sessionId }: RestoreIntent,
  channel: AgentChannel,
  stored: StoredSession | undefined,
): string {
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

/** Where the session works. @throws ApiError 409: its worktree is gone, and it must not go on somewhere else. */
function placeOf(sessionId: string, stored: StoredSession | undefined, { workspace }: SpawnContext): string {
  const path = stored?.worktree?.path;
  if (path === undefined || existsSync(path)) return path ?? workspace;
  throw fail('worktree_missing', `The worktree of the session is gone: ${path}`, { sessionId, path });
}

function notFound(sessionId: string) {
  return fail('session_not_found', 'No such session', { sessionId });
}

/** @throws ApiError; 504 leaves the call running at the agent, and says so through `abandon`. */
async function callAgent(
  { sessionId }: RestoreIntent,
  { method, cwd }: { readonly method: string; readonly cwd: string },
  channel: AgentChannel,
  stored: StoredSession | undefined,
  context: RestoreContext,
): Promise<Params> {
  const { limits, clock } = context;
  const timeoutMs = limits.sessionRestoreTimeoutMs;
  const bulk = method === 'session/load' ? { _meta: { [REPLAY_MODE_KEY]: 'bulk' } } : {};
  const call = channel.request(method, { sessionId, cwd, mcpServers: [], ...bulk }, undefined);
  let isLate = false;
  let deadline: Timer | undefined;
  const tooLate = new Promise<never>((_, reject) => {
    deadline = clock.after(timeoutMs, () => {
      isLate = true;
      reject(timeoutOf(sessionId, method, timeoutMs));
    });
  });
  try {
    return asRecord(await Promise.race([call, tooLate]));
  } catch (error) {
    if (isLate) context.abandon(sessionId, ended(call));
    if (context.isOtherwiseEmpty(channel) && isLate) void context.agent.retire(channel);
    if (error instanceof AgentCallError && isUnknownSession(error)) {
      // The agent has no such session any more. Our own recording of it can still be read; else nothing is left to be listed.
      if (!isOurs(stored)) context.ownership.history.remove(sessionId);
      throw notFound(sessionId);
    }
    throw channelFailure(error, method);
  } finally {
    deadline?.cancel();
  }
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

async function ended(call: Promise<unknown>): Promise<void> {
  // However it ends, it is only waited for.
  await call.catch(() => undefined);
}

function isUnknownSession({ code, message, data }: AgentCallError): boolean {
  const { errorKind, details } = asRecord(data);
  if (code === RESOURCE_NOT_FOUND || errorKind === 'session_not_found') return true;
  return /session.*(not found|unknown|does not exist)|(unknown|no such).*session/i.test(
    `${message} ${String(details)}`,
  );
}

interface Sources {
  readonly stored: StoredSession | undefined;
  readonly transcript: StoredTranscript | undefined;
  readonly ends: readonly PromptTerminal[];
  readonly told: LoadReplay;
  readonly bulk: Bulk;
  readonly isKeptByAgent: boolean;
}

/** Our transcript where there is one: it has what clients saw. Else what the agent told, with the ends that only we know. */
function pastOf(
  intent: RestoreIntent,
  { stored, transcript, ends, told, bulk, isKeptByAgent }: Sources,
  context: RestoreContext,
): { readonly past: SessionHistory; readonly damage: ReplayDamage } {
  const { ownership, workspace, clock } = context;
  const { sessionId, source, known } = intent;
  const nowMs = clock.nowMs();
  if (isOurs(stored) && transcript !== undefined) {
    const past = ownership.recordedHistory(stored);
    past.seedFrom(transcript);
    return { past, damage: transcript.isPartial ? { partial: true } : {} };
  }
  const updates = [...told.updates(), ...bulk.updates.map((update) => ({ sessionId, update }))];
  const createdAtMs = known?.createdAtMs ?? toldAtMs(updates[0] ?? {}) ?? nowMs;
  const session = { sessionId, workspaceCwd: workspace, createdAtMs, ...source };
  const past = isKeptByAgent ? ownership.statedHistory(session) : ownership.recordedHistory(session);
  for (const update of updates) past.seedUpdate(update, toldAtMs(update) ?? nowMs);
  past.replay.finishTurn();
  past.replay.remember(ends);
  const hasUnseenPast = bulk.hasMore || (intent.action === 'resume' && updates.length === 0);
  past.noteMissing({ turns: 0, events: told.dropped }, hasUnseenPast);
  return { past, damage: bulk.damage };
}

/** When the agent says that it was. */
function toldAtMs(params: Params): number | undefined {
  const { timestamp } = asRecord(updateOf(params)._meta);
  return typeof timestamp === 'number' && Number.isSafeInteger(timestamp) ? timestamp : undefined;
}

function bringUp(
  intent: RestoreIntent,
  channel: AgentChannel,
  stored: StoredSession | undefined,
  past: SessionHistory,
  context: RestoreContext,
): Session {
  const { sessionId, known } = intent;
  const source = { ...sourceOf(stored), ...intent.source };
  const before = {
    createdAtMs: known?.createdAtMs ?? stored?.createdAtMs ?? past.seededSinceMs ?? context.clock.nowMs(),
    displayName: known?.displayName ?? stored?.displayName,
    idFloor: known?.idFloor ?? 0,
    clients: known?.clients ?? [],
  };
  return sessionOf({ sessionId, channel, source, checkout: checkoutOf(stored), past, before }, context);
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
