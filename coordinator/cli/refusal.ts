// Says which errors are refusals that a person can act on: such an error ends the process with its message and an exit code,
// without a stack.
import { UnusablePath } from '../launch/directories.ts';
import { DriverUnavailable, DriverWouldCrash } from '../store/driver.ts';
import { StateDirLocked } from '../store/lock.ts';
import { SchemaTooNew } from '../store/migrate.ts';
import { CopyFailed } from '../store/migration-copy.ts';
import { CommandError, EXIT } from './exit-codes.ts';

const USAGE = [SchemaTooNew, CopyFailed, UnusablePath, DriverUnavailable, DriverWouldCrash];

/** The error as a CommandError if a person can act on its message; otherwise the error itself. */
export function refusalOf(error: unknown): unknown {
  if (error instanceof StateDirLocked) return new CommandError(EXIT.taken, error.message);
  if (USAGE.some((refusal) => error instanceof refusal))
    return new CommandError(EXIT.usage, (error as Error).message);
  return error;
}
