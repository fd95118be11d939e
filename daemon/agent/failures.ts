// Translates failures of calls to the agent into the errors of the client protocol.

import { ApiError, fail, failPlain, messageOf } from '../contract/errors.ts';
import { asRecord } from '../contract/json-record.ts';
import {
  AgentCallError,
  type AgentChannel,
  AgentGone,
  AgentMissing,
  AgentTimeout,
  UnusableAnswer,
} from './agent.ts';

/**
 * Checks that the agent child is not ending. To be called in the tick in which a session is registered on the channel: when a
 * child ends, only the sessions that are registered by then end with it.
 * @param phase the method or step after which the check is made, for the error's text.
 * @throws ApiError 503 where the child has ended or is ending.
 */
export function checkAlive(channel: AgentChannel, phase: string): void {
  if (!channel.isDying) return;
  throw fail('acp_channel_unavailable', `The agent ended during ${phase}`, { errorKind: 'protocol_error' });
}

/** The values of `data.errorKind` in an agent's error that are error codes of the client protocol too. */
const REFUSALS: Readonly<Record<string, 'trust_gate' | 'session_busy' | 'invalid_rewind_target'>> = {
  trust_gate: 'trust_gate',
  session_busy: 'session_busy',
  invalid_rewind_target: 'invalid_rewind_target',
};

function agentRefusal({ code, message, data }: AgentCallError): ApiError {
  const { errorKind } = asRecord(data);
  const known = typeof errorKind === 'string' && Object.hasOwn(REFUSALS, errorKind);
  const refusal = known ? REFUSALS[errorKind] : undefined;
  if (refusal !== undefined) return fail(refusal, message);
  // Any other JSON-RPC error goes to the client with the agent's own error code.
  return new ApiError({ status: 500, code, message, context: data === undefined ? {} : { data } });
}

/**
 * Translates the error of a failed call to the agent into the client protocol's error. Any other error, an ApiError too, is
 * returned unchanged.
 * @param phase the method or step that failed, for the error's text.
 */
export function channelFailure(error: unknown, phase: string): ApiError | unknown {
  if (error instanceof AgentMissing)
    return fail('acp_channel_unavailable', error.message, { errorKind: 'missing_binary' });
  if (error instanceof AgentTimeout)
    return fail('init_timeout', error.message, {
      errorKind: 'init_timeout',
      retryable: true,
      phase,
      timeoutMs: error.timeoutMs,
    });
  if (error instanceof UnusableAnswer) return failPlain(500, error.message);
  if (error instanceof AgentCallError) return agentRefusal(error);
  if (error instanceof AgentGone) {
    const { code, signal, lastLines } = error.exit;
    const how = signal === null ? `with code ${code}` : `by ${signal}`;
    return fail('acp_channel_unavailable', `The agent ended ${how} during ${phase}`, {
      errorKind: 'protocol_error',
      exitCode: code,
      signalCode: signal,
      lastLines: lastLines.slice(-5),
    });
  }
  return error;
}

/** The reason given for a failure without any text, because clients ignore an event whose reason is empty. */
const UNEXPLAINED = 'The agent gave no reason';

/**
 * The reason why a call to the agent failed, as text for a person. Some agents report a plain "Internal error" and put the reason
 * into the error's data.
 * @returns the error's message, with the text in its data where that adds something; never empty.
 */
export function reasonOf(error: unknown): string {
  const message = messageOf(error);
  const detail = error instanceof AgentCallError ? detailOf(error.data) : undefined;
  const parts = detail === undefined || message.includes(detail) ? [message] : [message, detail];
  return parts.filter(isText).join(': ') || UNEXPLAINED;
}

function detailOf(data: unknown): string | undefined {
  const { details, message } = asRecord(data);
  return [details, message, data].find(isText);
}

function isText(value: unknown): value is string {
  return typeof value === 'string' && value.trim() !== '';
}
