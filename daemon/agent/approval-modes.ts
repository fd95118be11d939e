// Approval modes as agents take and keep them: by the qwen agent's own call, or by the standard call where the agent lacks that.

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
  /** True: the agent plans first, and executes in `mode`. False: it ends planning. */
  readonly planMode?: boolean;
}

/**
 * Asks the agent to switch to a mode. Waits for ever.
 * @returns the agent's answer, for `modeOfAnswer`.
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

/** The mode in the agent's answer. @throws UnusableAnswer for a mode that clients do not know, and for none. */
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
 * Makes a mode the default of the workspace.
 * @returns false where the agent cannot keep settings.
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
