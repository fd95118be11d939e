// Calls that not every ACP agent knows, each with what to do where it does not.
import { AgentCallError, type AgentChannel, METHOD_NOT_FOUND } from './agent.ts';

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
  try {
    await channel.request('qwen/control/session/close', { sessionId }, timeoutMs);
    return true;
  } catch (error) {
    if (isUnknownMethod(error)) return false;
    throw error;
  }
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

function isUnknownMethod(error: unknown): boolean {
  return error instanceof AgentCallError && error.code === METHOD_NOT_FOUND;
}
