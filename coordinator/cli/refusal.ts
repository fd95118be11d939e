// Which errors are refusals that a person can act on: they end the process with their message and a code, without a stack.
import { UnusablePath } from '../launch/directories.ts';
import { StateDirLocked } from '../store/lock.ts';
import { SchemaTooNew } from '../store/migrate.ts';
import { CommandError, EXIT } from './exit-codes.ts';

/** The error as a CommandError where its message says all, otherwise the error itself. */
export function refusalOf(error: unknown): unknown {
  if (error instanceof StateDirLocked) return new CommandError(EXIT.taken, error.message);
  if (error instanceof SchemaTooNew || error instanceof UnusablePath)
    return new CommandError(EXIT.usage, error.message);
  return error;
}
