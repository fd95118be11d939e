// Changes a session's approval mode in the agent, and the workspace's default: by the qwen agent's own methods, or by ACP's
// `session/set_mode` where the agent lacks them.

import { fail } from '../contract/errors.ts';
import { asRecord } from '../contract/json-record.ts';
import type { ApprovalMode } from '../contract/wire.ts';
import { approvalMode, type ModeValue, saidMode } from '../domain/setting-values.ts';
import type { AgentChannel } from './agent.ts';
import { UnusableAnswer } from './agent.ts';
import { callIfKnown } from './extensions.ts';

export const MODE_METHOD = 'qwen/control/session/approval_mode';

export interface WantedMode {
  readonly mode: ApprovalMode;
  /** True: the agent plans first, and then executes in `mode`. False: the agent stops planning. */
  readonly planMode?: boolean;
}

/**
 * Asks the agent to switch a session to a mode. Has no deadline.
 * @returns the agent's answer, to be read with `modeOfAnswer`.
 * @throws AgentCallError, AgentGone; ApiError 501 when the agent cannot plan first.
 */
export async function askForMode(
  channel: AgentChannel,
  sessionId: string,
  { mode, planMode }: WantedMode,
): Promise<unknown> {
  const params = { sessionId, mode, ...(planMode === undefined ? {} : { planMode }) };
  const answer = await callIfKnown(channel, MODE_METHOD, params, undefined);
  if (answer !== undefined) return answer;
  if (planMode === true)
    throw fail('not_implemented', 'The agent cannot plan first and then execute in another mode');
  await channel.request('session/set_mode', { sessionId, modeId: mode }, undefined);
  return { current: mode };
}

/**
 * The mode in the agent's answer to `askForMode`.
 * @throws UnusableAnswer for no mode, and for a mode that clients do not know.
 */
export function modeOfAnswer(answer: unknown): ModeValue {
  const { current, planExecutionMode } = asRecord(answer);
  const execution = approvalMode(planExecutionMode);
  const isExecutionBad = planExecutionMode !== undefined && (execution === undefined || execution === 'plan');
  const said = saidMode(current, planExecutionMode);
  if (said.kind !== 'value' || isExecutionBad)
    throw new UnusableAnswer(`The agent answered with an unknown approval mode: ${JSON.stringify(answer)}`);
  return said.value;
}

/**
 * Has the agent store a mode as the default of the workspace.
 * @returns false where the agent cannot store settings.
 * @throws AgentCallError, AgentGone, AgentTimeout
 */
export async function persistMode(
  channel: AgentChannel,
  workspaceCwd: string,
  mode: ApprovalMode,
  timeoutMs: number,
): Promise<boolean> {
  const params = { key: 'tools.approvalMode', value: mode, scope: 'workspace', cwd: workspaceCwd };
  return (await callIfKnown(channel, 'qwen/settings/setCoreValue', params, timeoutMs)) !== undefined;
}
