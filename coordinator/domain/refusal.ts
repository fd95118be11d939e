// How a pure rule says no: what `fail()` of the error table takes, as data, so that domain/ throws nothing.
import type { ErrorCode } from '../../daemon/contract/errors.ts';

export interface Refusal {
  readonly code: ErrorCode;
  /** For a person: which limit or rule, and what to do about it. */
  readonly message: string;
  /** Extra fields of the body. */
  readonly context: Readonly<Record<string, unknown>>;
}
