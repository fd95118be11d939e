// The ways in which a session ends: for each, how the session's prompts end and which event is the last on its bus.
import type { AgentExit } from '../agent/agent.ts';
import type { JsonRecord } from '../contract/json-record.ts';
import type { Abort } from './turns.ts';

export interface SessionEnd {
  readonly prompts: Abort;
  /** Type and data of the session's last event; `Session` adds the session id. */
  readonly type: 'session_closed' | 'session_died';
  readonly data: JsonRecord;
}

/**
 * The end of a session that is closed while the agent lives, by a client or automatically.
 * @param extras further fields of `session_closed`.
 */
export function endByClose(reason: string, extras: JsonRecord): SessionEnd {
  const error = { message: 'The session was closed', code: 'session_closed' };
  return {
    prompts: { running: error, waiting: error, isAgentGone: false },
    type: 'session_closed',
    data: { reason, ...extras },
  };
}

/** The end of a session whose agent child has ended: the crash sequence of the client protocol. */
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

/** The end of a session whose daemon is stopping. */
export function endByShutdown(): SessionEnd {
  const error = { message: 'The daemon is shutting down', code: 'daemon_shutdown' };
  return {
    prompts: { running: error, waiting: error, isAgentGone: false },
    type: 'session_died',
    data: { reason: 'daemon_shutdown' },
  };
}
