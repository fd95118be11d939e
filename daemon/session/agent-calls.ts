// Requests of clients that only the agent can answer: status reads, small services, another model or mode. Where the agent lacks
// the method, a status read is answered with an idle body that says so, and a service is refused.
import type { Params } from '../agent/agent.ts';
import { MODE_METHOD } from '../agent/approval-modes.ts';
import { callIfKnown, readContext } from '../agent/extensions.ts';
import { channelFailure } from '../agent/failures.ts';
import { fail } from '../contract/errors.ts';
import { asRecord, isRecord, type JsonRecord } from '../contract/json-record.ts';
import type { Limits } from '../contract/limits.ts';
import type { ModeAnswer, ModeRequest } from './approval-mode.ts';
import type { Session } from './session.ts';

type CallLimits = Pick<Limits, 'initializeTimeoutMs' | 'agentAnswerTimeoutMs'>;

/** For each status read, the fields of its idle body: what the client gets where the agent lacks the method. */
const IDLE: Readonly<Record<StatusRead, JsonRecord>> = {
  context_usage: { usage: null, formattedText: '' },
  stats: {},
  tasks: { tasks: [] },
  agents: { tasks: [] },
  lsp: { enabled: false, servers: [] },
  hooks: { disabled: false, hooks: [] },
  resources: { resources: [] },
};

export type StatusRead = 'context_usage' | 'stats' | 'tasks' | 'agents' | 'lsp' | 'hooks' | 'resources';

/**
 * Reads one part of a session's status from the agent.
 * @returns the agent's answer; where the agent lacks the method, an idle body whose `errors` say so.
 * @throws ApiError: the agent's failure in the client protocol's terms.
 */
export async function readStatus(
  session: Session,
  read: StatusRead,
  extras: Params,
  limits: CallLimits,
): Promise<JsonRecord> {
  const answer = await ask(session, `qwen/status/session/${read}`, extras, limits.initializeTimeoutMs);
  return isRecord(answer)
    ? answer
    : { ...head(session), ...IDLE[read], ...unsupported(read, `qwen/status/session/${read}`) };
}

/**
 * Reads the session's slash commands from the agent; where the agent lacks the method, returns the commands that the agent
 * announced last.
 * @throws as `readStatus`
 */
export async function readCommands(session: Session, limits: CallLimits): Promise<JsonRecord> {
  const method = 'qwen/status/session/supported_commands';
  const answer = await ask(session, method, {}, limits.initializeTimeoutMs);
  if (isRecord(answer)) return answer;
  const announced = session.settings.availableCommands;
  return {
    ...head(session),
    availableCommands: announced ?? [],
    availableSkills: [],
    workflowsEnabled: false,
    ...(announced === undefined ? unsupported('supported_commands', method) : {}),
  };
}

/**
 * Reads model, mode and options from the agent; where the agent lacks the method, returns the values that the daemon knows.
 * @throws as `readStatus`
 */
export async function readSessionContext(session: Session, limits: CallLimits): Promise<JsonRecord> {
  const { channel, sessionId } = session;
  try {
    const answer = await readContext(channel, sessionId, limits.initializeTimeoutMs);
    if (isRecord(answer)) return answer;
  } catch (error) {
    throw channelFailure(error, 'qwen/status/session/context');
  }
  return { ...head(session), state: session.settings.knownState() };
}

/**
 * Calls a service of the agent.
 * @param control the part of the method's name behind `qwen/control/session/`.
 * @throws ApiError 501 where the agent lacks the service; the agent's other failures in the client protocol's terms.
 */
export async function askService(
  session: Session,
  control: string,
  params: Params,
  timeoutMs: number,
): Promise<JsonRecord> {
  const answer = await ask(session, `qwen/control/session/${control}`, params, timeoutMs);
  if (answer === undefined) throw notOffered(control);
  return asRecord(answer);
}

/** Changes a config option of the session in the agent. @throws as `askService` */
export async function setConfigOption(
  session: Session,
  option: { readonly configId: string; readonly value: string; readonly isPersisted: boolean },
  limits: CallLimits,
): Promise<JsonRecord> {
  const { configId, value, isPersisted } = option;
  const meta = isPersisted ? { _meta: { 'qwenCode/persistReasoningSelection': true } } : {};
  const params = { configId, value, ...meta };
  const answer = await ask(session, 'session/set_config_option', params, limits.initializeTimeoutMs);
  if (answer === undefined) throw notOffered('set_config_option');
  const { configOptions, _meta } = asRecord(answer);
  if (Array.isArray(configOptions)) session.settings.configOptionsChanged(configOptions);
  return {
    configOptions: configOptions ?? [],
    persisted: asRecord(_meta)['qwenCode/reasoningSelectionPersisted'] === true,
  };
}

/**
 * Switches the session's model on behalf of a client, see `SessionSettings.switchModel`.
 * @returns the agent's raw answer to `session/set_model`.
 * @throws ApiError: the agent's failures in the client protocol's terms; 404 when the session has ended meanwhile.
 */
export async function requestModel(
  session: Session,
  modelId: string,
  clientId: string | undefined,
): Promise<unknown> {
  try {
    return await session.settings.switchModel(modelId, clientId);
  } catch (error) {
    throw channelFailure(error, 'session/set_model');
  }
}

/**
 * Changes the session's approval mode on behalf of a client, see `SessionSettings.switchMode`.
 * @throws ApiError as `requestModel`; 501 when the agent cannot plan first.
 */
export async function requestMode(
  session: Session,
  request: ModeRequest,
  clientId: string | undefined,
): Promise<ModeAnswer> {
  try {
    return await session.settings.switchMode(request, clientId);
  } catch (error) {
    throw channelFailure(error, MODE_METHOD);
  }
}

/**
 * Reads from the agent the snapshots to which the session can be rewound; where the agent lacks the method, returns none, and
 * `errors` that say so.
 * @throws as `readStatus`
 */
export async function readRewindSnapshots(session: Session, limits: CallLimits): Promise<JsonRecord> {
  const method = 'qwen/status/session/rewind_snapshots';
  const answer = await ask(session, method, {}, limits.initializeTimeoutMs);
  return isRecord(answer) ? answer : { snapshots: [], ...unsupported('rewind_snapshots', method) };
}

async function ask(session: Session, method: string, params: Params, timeoutMs: number): Promise<unknown> {
  const { channel, sessionId } = session;
  try {
    return await callIfKnown(channel, method, { sessionId, ...params }, timeoutMs);
  } catch (error) {
    throw channelFailure(error, method);
  }
}

function head({ sessionId, workspaceCwd }: Session): JsonRecord {
  return { v: 1, sessionId, workspaceCwd };
}

function unsupported(kind: string, method: string): JsonRecord {
  return { errors: [{ kind, status: 'unknown', hint: `the agent has no method ${method}` }] };
}

function notOffered(what: string) {
  return fail('not_implemented', `The agent of this workspace does not offer "${what}"`);
}
