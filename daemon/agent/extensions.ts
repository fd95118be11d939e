// Calls that not every ACP agent knows, each with what to do where it does not.
import { AgentCallError, type AgentChannel, METHOD_NOT_FOUND, type Params } from './agent.ts';

/** Methods that a channel's agent was found not to know: asked once each. */
const unknownOn = new WeakMap<AgentChannel, Set<string>>();

/** Channels whose agent does not know `craft/cancelPendingPrompt`: asked once, then told the standard way. */
const withoutCancelCall = new WeakSet<AgentChannel>();

/**
 * Closes a session in the agent. False where the agent has no such call; the session then ends with the child.
 * @throws AgentCallError (any other failure), AgentGone, AgentTimeout
 */
export async function closeSession(
  channel: AgentChannel,
  sessionId: string,
  timeoutMs: number,
): Promise<boolean> {
  return called(channel, 'qwen/control/session/close', { sessionId }, timeoutMs);
}

/**
 * Gives a session its name in the agent. False where the agent has no such call.
 * @throws AgentCallError (any other failure), AgentGone, AgentTimeout
 */
export async function setTitle(
  channel: AgentChannel,
  sessionId: string,
  displayName: string,
  timeoutMs: number,
): Promise<boolean> {
  return called(
    channel,
    'qwen/control/session/title',
    { sessionId, displayName, titleSource: 'manual' },
    timeoutMs,
  );
}

/**
 * Asks the agent to end the session's running turn; the turn's own answer tells when it did. Falls back to the
 * `session/cancel` notification wherever the call is refused.
 * @throws AgentGone, AgentTimeout
 */
export async function cancelTurn(channel: AgentChannel, sessionId: string, timeoutMs: number): Promise<void> {
  if (!withoutCancelCall.has(channel)) {
    try {
      await channel.request('craft/cancelPendingPrompt', { sessionId }, timeoutMs);
      return;
    } catch (error) {
      if (!(error instanceof AgentCallError)) throw error;
      if (isUnknownMethod(error)) withoutCancelCall.add(channel);
    }
  }
  channel.notify('session/cancel', { sessionId });
}

const CONTEXT = 'qwen/status/session/context';

/** Whether the agent may be asked for a session's context; false from the first answer that it has no such call. */
export function canReadContext(channel: AgentChannel): boolean {
  return isKnown(channel, CONTEXT);
}

/**
 * Model, mode and options of a session as the agent has them now.
 * @returns undefined where the agent has no such call.
 * @throws AgentCallError (any other failure), AgentGone, AgentTimeout
 */
export async function readContext(
  channel: AgentChannel,
  sessionId: string,
  timeoutMs: number,
): Promise<unknown> {
  return callIfKnown(channel, CONTEXT, { sessionId }, timeoutMs);
}

/**
 * Calls a method that the agent may not have; remembers per channel when it has not.
 * @param timeoutMs undefined waits for ever.
 * @returns undefined where it has not; the answer otherwise, null for an empty one.
 * @throws AgentCallError (any other failure), AgentGone, AgentTimeout
 */
export async function callIfKnown(
  channel: AgentChannel,
  method: string,
  params: Params,
  timeoutMs: number | undefined,
): Promise<unknown> {
  if (!isKnown(channel, method)) return undefined;
  try {
    return (await channel.request(method, params, timeoutMs)) ?? null;
  } catch (error) {
    if (!isUnknownMethod(error)) throw error;
    const unknown = unknownOn.get(channel) ?? new Set();
    unknownOn.set(channel, unknown.add(method));
    return undefined;
  }
}

function isKnown(channel: AgentChannel, method: string): boolean {
  return unknownOn.get(channel)?.has(method) !== true;
}

async function called(
  channel: AgentChannel,
  method: string,
  params: Params,
  timeoutMs: number,
): Promise<boolean> {
  try {
    await channel.request(method, params, timeoutMs);
    return true;
  } catch (error) {
    if (isUnknownMethod(error)) return false;
    throw error;
  }
}

function isUnknownMethod(error: unknown): boolean {
  return error instanceof AgentCallError && error.code === METHOD_NOT_FOUND;
}
