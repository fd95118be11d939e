// From a create request to a session on the agent: start the child if need be, `session/new`, first settings.
import type { AgentChannel, AgentHost, Params } from '../agent/agent.ts';
import { channelFailure, checkAlive } from '../agent/failures.ts';
import type { Checkouts, MadeCheckout } from '../checkouts/checkouts.ts';
import type { Clock } from '../contract/clock.ts';
import { fail } from '../contract/errors.ts';
import type { FeedBody } from '../contract/feed.ts';
import { asRecord } from '../contract/json-record.ts';
import type { Limits } from '../contract/limits.ts';
import type { Log } from '../contract/log.ts';
import type { SessionCheckout } from '../domain/checkout-request.ts';
import type { CreateRequest } from '../domain/create-request.ts';
import { isWorthKeeping } from '../history/history.ts';
import type { SessionHistory } from '../history/session-history.ts';
import type { TranscriptOwnership } from '../history/transcript-ownership.ts';
import type { PermissionSettings } from '../session/permissions.ts';
import { applyRequestedSettings, RequestedSettingRefused } from '../session/requested-settings.ts';
import { Session, type SessionBefore } from '../session/session.ts';

export interface SpawnContext {
  readonly workspace: string;
  readonly clock: Clock;
  readonly log: Log;
  readonly limits: Limits;
  readonly permissionSettings: PermissionSettings;
  readonly agent: AgentHost;
  readonly ownership: TranscriptOwnership;
  readonly checkouts: Pick<Checkouts, 'around'>;
  readonly tell: (body: FeedBody) => number;
  /** Whether the child has no session and no other spawn: then a failed `session/new` ends it. */
  readonly isOtherwiseEmpty: (channel: AgentChannel) => boolean;
  /** Whether `register` would take a session of this id. @throws ApiError 409 for a live one, 503 once the daemon is stopping. */
  readonly checkAdmission: (sessionId: string) => void;
  /** Makes the session reachable; called in the same tick in which it is known. */
  readonly register: (session: Session) => void;
  /** Ends a session that was registered and that its maker does not get after all. */
  readonly discard: (session: Session) => void;
  readonly onMaybeIdle: (session: Session) => void;
  readonly onRenamed: (session: Session) => void;
  readonly onModelChosen: (modelId: string, clientId: string | undefined) => void;
}

export interface SpawnedSession {
  readonly session: Session;
  /** Whether the asked-for model was taken; undefined when none was asked for. */
  readonly isModelApplied: boolean | undefined;
}

/** A live session that a caller has come by. */
export type Obtained = SpawnedSession & { readonly isAttached: boolean };

/**
 * @throws ApiError: the agent's failures in the protocol's terms, and what git has against a checkout.
 * @throws WishRefused: a session could be made, but not as this request wants it.
 */
export async function spawnOnAgent(request: CreateRequest, context: SpawnContext): Promise<SpawnedSession> {
  const channel = await startedChannel(context);
  checkNotStored(request.sessionId, channel, context);
  if (request.checkout === undefined) return spawnIn(request, channel, undefined, context);
  return context.checkouts.around(request.checkout, (made) => spawnIn(request, channel, made, context));
}

async function spawnIn(
  request: CreateRequest,
  channel: AgentChannel,
  made: MadeCheckout | undefined,
  context: SpawnContext,
): Promise<SpawnedSession> {
  const { workspace, clock, ownership, log } = context;
  const opened = await newSession(request, made?.cwd ?? workspace, channel, context);
  const { sessionId } = opened;
  const { source } = request;
  const checkout = made?.checkout ?? {};
  const createdAtMs = clock.nowMs();
  const isKeptByAgent = await ownership.isKeptByAgent(channel, sessionId);
  // From here to the registration in one tick: a past that was opened always comes to a session that closes it.
  checkAlive(channel, 'session/new');
  context.checkAdmission(sessionId);
  const stored = { sessionId, workspaceCwd: workspace, createdAtMs, ...source, ...checkout };
  const past = ownership.newHistory(stored, isKeptByAgent);
  const session = sessionOf({ sessionId, channel, source, checkout, past, before: undefined }, context);
  session.settings.seed(opened.answer);
  context.register(session);
  try {
    return { session, isModelApplied: await applyRequestedSettings(session, request, log) };
  } catch (error) {
    context.discard(session);
    throw new RequestedSettingRefused(error);
  }
}

/**
 * A session that could be loaded has its id still. Where nothing can be, or the session is forgotten, the id is free: a create
 * that was refused for its mode can be repeated.
 * @throws ApiError 409
 */
function checkNotStored(
  chosenId: string | undefined,
  channel: AgentChannel,
  { ownership }: SpawnContext,
): void {
  if (chosenId === undefined || !channel.process.canLoad) return;
  const stored = ownership.history.find(chosenId);
  if (stored === undefined || !isWorthKeeping(stored)) return;
  throw fail('session_id_conflict', 'The id belongs to a session that can be loaded', {
    sessionId: chosenId,
    conflict: 'stored',
  });
}

export interface SessionParts {
  readonly sessionId: string;
  readonly channel: AgentChannel;
  readonly source: CreateRequest['source'];
  readonly checkout: SessionCheckout;
  readonly past: SessionHistory;
  readonly before: SessionBefore | undefined;
}

/** A session that is not reachable yet. */
export function sessionOf(parts: SessionParts, context: SpawnContext): Session {
  const { workspace, clock, log, limits, permissionSettings, tell } = context;
  const { sessionId } = parts;
  return new Session({
    ...parts,
    workspaceCwd: workspace,
    clock,
    log,
    limits,
    permissionSettings,
    onPrompt: (prompt) => tell({ type: 'prompt', prompt }),
    onHead: (head) => tell({ type: 'head', sessionId, head }),
    onMaybeIdle: context.onMaybeIdle,
    onRenamed: context.onRenamed,
    onModelChosen: context.onModelChosen,
  });
}

/** The agent's channel, started if need be. @throws ApiError: the agent's failures in the protocol's terms. */
export async function startedChannel(context: SpawnContext): Promise<AgentChannel> {
  try {
    const channel = await context.agent.channel();
    context.tell({ type: 'agent', agent: channel.process });
    return channel;
  } catch (error) {
    throw channelFailure(error, 'channel.initialize');
  }
}

async function newSession(
  request: CreateRequest,
  cwd: string,
  channel: AgentChannel,
  context: SpawnContext,
): Promise<{ readonly sessionId: string; readonly answer: Params }> {
  const { sourceType, sourceId } = request.source;
  const meta = {
    ...(request.sessionId === undefined ? {} : { 'qwen-code/sessionId': request.sessionId }),
    ...(sourceType === undefined ? {} : { 'qwen.session.source': { sourceType, sourceId } }),
  };
  try {
    const params = {
      cwd,
      mcpServers: [],
      ...(Object.keys(meta).length === 0 ? {} : { _meta: meta }),
    };
    const answer = asRecord(await channel.request('session/new', params, context.limits.initializeTimeoutMs));
    const { sessionId: id } = answer;
    if (typeof id !== 'string' || id === '')
      throw fail('acp_channel_unavailable', 'The agent answered session/new without a session id');
    if (request.sessionId !== undefined && id !== request.sessionId)
      throw fail('session_id_not_honored', 'The agent did not accept the chosen session id', {
        sessionId: request.sessionId,
      });
    return { sessionId: id, answer };
  } catch (error) {
    if (context.isOtherwiseEmpty(channel)) void context.agent.retire(channel);
    throw channelFailure(error, 'session/new');
  }
}
