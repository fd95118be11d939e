// The values of the settings that bridge and agent both change, out of what agents say: model ids, which are opaque, and the
// approval modes that clients know.

import { asRecord, type JsonRecord } from '../contract/json-record.ts';
import { APPROVAL_MODES, type ApprovalMode } from '../contract/wire.ts';

export interface ModeValue {
  readonly mode: ApprovalMode;
  /** The mode in which a plan will be carried out; only in plan mode. */
  readonly planExecutionMode?: ApprovalMode;
}

/** What an agent said in a field that has a setting's value. */
export type Said<Value> =
  | { readonly kind: 'value'; readonly value: Value }
  | { readonly kind: 'nothing' }
  /** A value that no client may see. */
  | { readonly kind: 'unusable'; readonly reason: 'model_not_text' | 'unknown_mode' };

const NOTHING = { kind: 'nothing' } as const;
const QUALIFIED = /^(.+)\(([a-z][a-z0-9-]*)\)$/s;

/**
 * Whether two model ids name one model. The qwen agent knows a model by its bare id and as `id(authType)`, and takes
 * either; two ids with different auth types are two models.
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
 * Whether `said` is the mode that is known. Not every message that names the mode also names the mode of a plan's execution;
 * where `said` does not, any is the same.
 */
export function isSameMode(known: ModeValue, said: ModeValue): boolean {
  if (known.mode !== said.mode) return false;
  return said.planExecutionMode === undefined || said.planExecutionMode === known.planExecutionMode;
}

/** The value as an approval mode; undefined when it is none. */
export function approvalMode(value: unknown): ApprovalMode | undefined {
  return APPROVAL_MODES.find((mode) => mode === value);
}

/** A model id as the agent said it; `nothing` when it said none. */
export function saidModel(value: unknown): Said<string> {
  if (value === undefined || value === null) return NOTHING;
  return typeof value === 'string' && value !== ''
    ? { kind: 'value', value }
    : { kind: 'unusable', reason: 'model_not_text' };
}

/** A mode as the agent said it; `nothing` when it said none. A mode that no plan can be executed in is left out. */
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

/** The model of a `session/new`, load or context answer's `models`. */
export function modelOfState(state: JsonRecord): Said<string> {
  return saidModel(asRecord(state.models).currentModelId);
}

/** The mode of such an answer's `modes`. */
export function modeOfState(state: JsonRecord): Said<ModeValue> {
  const modes = asRecord(state.modes);
  return saidMode(modes.currentModeId, asRecord(modes._meta).planExecutionMode);
}
