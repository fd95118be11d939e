// A refusal as data: the arguments of `fail()`, so that the pure rules in domain/ throw nothing.
import type { ErrorCode } from '../../daemon/contract/errors.ts';

export interface Refusal {
  readonly code: ErrorCode;
  /** For a person: which limit or rule, and what to do about it. */
  readonly message: string;
  /** Extra fields for the JSON body of the error. */
  readonly context: Readonly<Record<string, unknown>>;
}
