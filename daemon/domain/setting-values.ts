// Reads the values of synced settings from the agent's messages: model ids, which are opaque text, and approval modes, of
// which only those that clients know are accepted.

import { asRecord, type JsonRecord } from '../contract/json-record.ts';
import { APPROVAL_MODES, type ApprovalMode } from '../contract/wire.ts';

export interface ModeValue {
  readonly mode: ApprovalMode;
  /** The mode in which the agent will carry out its plan; only present when `mode` is `plan`. */
  readonly planExecutionMode?: ApprovalMode;
}

/** The value of a setting as read from a field of an agent's message. */
export type Said<Value> =
  | { readonly kind: 'value'; readonly value: Value }
  | { readonly kind: 'nothing' }
  /** The agent sent a value that must not be published to clients. */
  | { readonly kind: 'unusable'; readonly reason: 'model_not_text' | 'unknown_mode' };

const NOTHING = { kind: 'nothing' } as const;
const QUALIFIED = /^(.+)\(([a-z][a-z0-9-]*)\)$/s;

/**
 * Whether two model ids name one model. The qwen agent names a model by its bare id or as `id(authType)`, and accepts
 * both; two ids with different auth types are two models.
 */
export function isSameModel(a: string, b: string): boolean {
  if (a === b) return true;
  const [bareOfA, bareOfB] = [bareId(a), bareId(b)];
  return bareOfA === b || bareOfB === a;
}

function bareId(id: string): string {
  return QUALIFIED.exec(id)?.[1] ?? id;
}

/**
 * Whether `said` agrees with the `known` value. Not every message of the agent that has the mode also has
 * `planExecutionMode`; if `said` lacks it, only the modes are compared.
 */
export function isSameMode(known: ModeValue, said: ModeValue): boolean {
  if (known.mode !== said.mode) return false;
  return said.planExecutionMode === undefined || said.planExecutionMode === known.planExecutionMode;
}

/** `value` as an approval mode; undefined when `value` is not the name of one. */
export function approvalMode(value: unknown): ApprovalMode | undefined {
  return APPROVAL_MODES.find((mode) => mode === value);
}

/** Reads a model id from a field of the agent's message; `nothing` when the field is absent or null. */
export function saidModel(value: unknown): Said<string> {
  if (value === undefined || value === null) return NOTHING;
  return typeof value === 'string' && value !== ''
    ? { kind: 'value', value }
    : { kind: 'unusable', reason: 'model_not_text' };
}

/** Reads a mode from fields of the agent's message; `nothing` without a mode. `planExecutionMode` counts only in plan mode. */
export function saidMode(mode: unknown, planExecutionMode: unknown): Said<ModeValue> {
  if (mode === undefined || mode === null) return NOTHING;
  const known = approvalMode(mode);
  if (known === undefined) return { kind: 'unusable', reason: 'unknown_mode' };
  const execution = known === 'plan' ? approvalMode(planExecutionMode) : undefined;
  return {
    kind: 'value',
    value:
      execution === undefined || execution === 'plan'
        ? { mode: known }
        : { mode: known, planExecutionMode: execution },
  };
}

/** The current model in the `models` of the agent's answer to `session/new`, `session/load` or a read of the context. */
export function modelOfState(state: JsonRecord): Said<string> {
  return saidModel(asRecord(state.models).currentModelId);
}

/** The current mode in the `modes` of the agent's answer to `session/new`, `session/load` or a read of the context. */
export function modeOfState(state: JsonRecord): Said<ModeValue> {
  const modes = asRecord(state.modes);
  return saidMode(modes.currentModeId, asRecord(modes._meta).planExecutionMode);
}
