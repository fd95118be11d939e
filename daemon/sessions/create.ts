// Makes a session on the agent from a create request: starts the agent child if need be, calls `session/new`, applies the
// requested settings.
import type { AgentChannel, Params } from '../agent/agent.ts';
import { channelFailure, checkAlive } from '../agent/failures.ts';
import type { Checkouts, MadeCheckout } from '../checkouts/checkouts.ts';
import { fail } from '../contract/errors.ts';
import { asRecord } from '../contract/json-record.ts';
import type { CreateRequest } from '../domain/create-request.ts';
import { isWorthKeeping } from '../history/history.ts';
import type { TranscriptOwnership } from '../history/transcript-ownership.ts';
import { applyRequestedSettings, RequestedSettingRefused } from '../session/requested-settings.ts';
import { Session, type SessionServices } from '../session/session.ts';
import type { SpawnedSession } from './obtained.ts';
import type { SessionOpener } from './opener.ts';

export interface SessionSpawnerDeps {
  /** Canonical path of the workspace. */
  readonly workspace: string;
  readonly services: SessionServices;
  readonly opener: SessionOpener;
  readonly ownership: TranscriptOwnership;
  readonly checkouts: Pick<Checkouts, 'around'>;
}

export class SessionSpawner {
  readonly #deps: SessionSpawnerDeps;

  constructor(deps: SessionSpawnerDeps) {
    this.#deps = deps;
  }

  /**
   * Makes a session on the agent; reserves the id in the tick of the call.
   * @param id the requested id, or a stand-in for the id that the agent will choose.
   * @throws ApiError: 503 at the caps, the agent's failures in the client protocol's terms, and why git made no checkout.
   * @throws RequestedSettingRefused: a session could be made, but not with the settings of this request.
   */
  spawn(id: string, request: CreateRequest): Promise<SpawnedSession> {
    return this.#deps.opener.open(id, () => this.#spawn(request));
  }

  async #spawn(request: CreateRequest): Promise<SpawnedSession> {
    const { opener, checkouts } = this.#deps;
    const channel = await opener.channel();
    this.#checkNotStored(request.sessionId, channel);
    if (request.checkout === undefined) return this.#spawnIn(undefined, request, channel);
    return checkouts.around(request.checkout, (made) => this.#spawnIn(made, request, channel));
  }

  async #spawnIn(
    made: MadeCheckout | undefined,
    request: CreateRequest,
    channel: AgentChannel,
  ): Promise<SpawnedSession> {
    const { workspace: workspaceCwd, services, opener, ownership } = this.#deps;
    const { sessionId, answer } = await this.#newSession(made?.cwd ?? workspaceCwd, request, channel);
    const { source } = request;
    const checkout = made?.checkout ?? {};
    const createdAtMs = services.clock.nowMs();
    const isKeptByAgent = await ownership.isKeptByAgent(channel, sessionId);
    // From here to the registration nothing is awaited: the transcript that is begun here is closed only by a registered session.
    checkAlive(channel, 'session/new');
    opener.checkMayRegister(sessionId);
    const stored = { sessionId, workspaceCwd, createdAtMs, ...source, ...checkout };
    const past = ownership.newHistory(stored, isKeptByAgent);
    const session = new Session({ sessionId, workspaceCwd, channel, source, checkout, past }, services);
    session.settings.seed(answer);
    opener.register(session);
    try {
      return { session, isModelApplied: await applyRequestedSettings(session, request, services.log) };
    } catch (error) {
      opener.discard(session);
      throw new RequestedSettingRefused(error);
    }
  }

  /**
   * Checks that the id that a client chose is not the id of a stored session which could be loaded. Where the agent cannot load,
   * or the stored session is not worth keeping, the id is free: a create that was refused for its mode can be repeated.
   * @throws ApiError 409
   */
  #checkNotStored(chosenId: string | undefined, channel: AgentChannel): void {
    if (chosenId === undefined || !channel.process.canLoad) return;
    const stored = this.#deps.ownership.history.find(chosenId);
    if (stored === undefined || !isWorthKeeping(stored)) return;
    throw fail('session_id_conflict', 'The id belongs to a session that can be loaded', {
      sessionId: chosenId,
      conflict: 'stored',
    });
  }

  async #newSession(
    cwd: string,
    request: CreateRequest,
    channel: AgentChannel,
  ): Promise<{ readonly sessionId: string; readonly answer: Params }> {
    const { services, opener } = this.#deps;
    const params = { cwd, mcpServers: [], ...metaOf(request) };
    const timeoutMs = services.limits.initializeTimeoutMs;
    try {
      const answer = asRecord(await channel.request('session/new', params, timeoutMs));
      return { sessionId: sessionIdIn(answer, request.sessionId), answer };
    } catch (error) {
      opener.retireIfOtherwiseUnused(channel);
      throw channelFailure(error, 'session/new');
    }
  }
}

/** The `_meta` of `session/new`, by which the agent gets the request's id and source; empty where the request has neither. */
function metaOf({ sessionId, source }: CreateRequest): Params {
  const { sourceType, sourceId } = source;
  const meta = {
    ...(sessionId === undefined ? {} : { 'qwen-code/sessionId': sessionId }),
    ...(sourceType === undefined ? {} : { 'qwen.session.source': { sourceType, sourceId } }),
  };
  return Object.keys(meta).length === 0 ? {} : { _meta: meta };
}

/** The session id in the agent's answer to `session/new`. @throws ApiError where the answer has none, or not the chosen id. */
function sessionIdIn({ sessionId }: Params, chosenId: string | undefined): string {
  if (typeof sessionId !== 'string' || sessionId === '')
    throw fail('acp_channel_unavailable', 'The agent answered session/new without a session id');
  if (chosenId !== undefined && sessionId !== chosenId)
    throw fail('session_id_not_honored', 'The agent did not accept the chosen session id', {
      sessionId: chosenId,
    });
  return sessionId;
}
