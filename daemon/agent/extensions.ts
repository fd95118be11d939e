// Calls that not every ACP agent knows, each with the way to do without.
import { AgentCallError, type AgentChannel, METHOD_NOT_FOUND, type Params } from './agent.ts';

/** For each channel, the methods that its agent was found not to know: none of them is called again. */
const unknownOn = new WeakMap<AgentChannel, Set<string>>();

/** Channels whose agent does not know `craft/cancelPendingPrompt`: from then on it gets the standard notification. */
const withoutCancelCall = new WeakSet<AgentChannel>();

/**
 * Closes a session in the agent.
 * @returns false where the agent has no such call; the session then ends with the child.
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
 * Gives a session its name in the agent.
 * @returns false where the agent has no such call.
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
 * Asks the agent to end the session's running turn; the answer to the prompt shows when it did. Falls back to the
 * `session/cancel` notification where the call is refused.
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
 * Calls a method that the agent may not know; remembers per channel when it does not.
 * @param timeoutMs undefined waits for ever.
 * @returns the answer, null for an empty one; undefined where the agent does not know the method.
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
