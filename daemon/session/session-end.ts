// The ways in which a session ends: for each, how its prompts end and which event is its last.
import type { AgentExit } from '../agent/agent.ts';
import type { JsonRecord } from '../contract/json-record.ts';
import type { Abort } from './turns.ts';

export interface SessionEnd {
  readonly prompts: Abort;
  /** Type and data of the session's last event; the session id is added. */
  readonly type: 'session_closed' | 'session_died';
  readonly data: JsonRecord;
}

/** The session is closed in order. @param extras further fields of `session_closed`. */
export function endByClose(reason: string, extras: JsonRecord): SessionEnd {
  const error = { message: 'The session was closed', code: 'session_closed' };
  return {
    prompts: { running: error, waiting: error, isAgentGone: false },
    type: 'session_closed',
    data: { reason, ...extras },
  };
}

/** The agent child is gone: the protocol's crash sequence. */
export function endByAgentExit({ code, signal }: AgentExit): SessionEnd {
  const message = 'agent channel closed mid-request: the agent process ended';
  return {
    prompts: { running: { message }, waiting: { message, code: 'channel_closed' }, isAgentGone: true },
    type: 'session_died',
    data: {
      reason: 'channel_closed',
      ...(code === null ? {} : { exitCode: code }),
      ...(signal === null ? {} : { signalCode: signal }),
    },
  };
}

/** The daemon is stopping. */
export function endByShutdown(): SessionEnd {
  const error = { message: 'The daemon is shutting down', code: 'daemon_shutdown' };
  return {
    prompts: { running: error, waiting: error, isAgentGone: false },
    type: 'session_died',
    data: { reason: 'daemon_shutdown' },
  };
}
