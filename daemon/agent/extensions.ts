// Calls of methods that not every ACP agent has, each with the fallback for an agent that lacks the method.
import { AgentCallError, type AgentChannel, METHOD_NOT_FOUND, type Params } from './agent.ts';

/**
 * For each channel, the methods that its agent has answered with "method not found": they are not called on that channel again.
 */
const unknownOn = new WeakMap<AgentChannel, Set<string>>();

/**
 * Channels whose agent lacks `craft/cancelPendingPrompt`: their turns are cancelled by the notification `session/cancel` instead.
 */
const withoutCancelCall = new WeakSet<AgentChannel>();

/**
 * Closes a session in the agent.
 * @returns false where the agent lacks the method; the session then stays in the agent until the child ends.
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
 * @returns false where the agent lacks the method.
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
 * Asks the agent to end the session's running turn; the turn has ended only when the agent answers its `session/prompt`. Falls
 * back to the `session/cancel` notification where the agent refuses `craft/cancelPendingPrompt`.
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

/** Whether `readContext` may be called on the channel: false once the agent has answered that it lacks the method. */
export function canReadContext(channel: AgentChannel): boolean {
  return isKnown(channel, CONTEXT);
}

/**
 * Reads the current model, mode and options of a session from the agent.
 * @returns undefined where the agent lacks the method.
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
 * Calls a method that the agent may lack; remembers for the channel when the agent lacks it.
 * @param timeoutMs undefined waits for ever.
 * @returns the agent's answer, null for an empty one; undefined where the agent lacks the method.
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
