// What a command knows of its surroundings. Made once in main.ts, so that commands read neither argv nor environment.
import type { Log } from '../../daemon/contract/log.ts';
import type { CoordinatorOptions } from '../app.ts';

export interface Runtime {
  readonly version: string;
  /** Directory against which relative paths count. */
  readonly cwd: string;
  readonly daemonCommand: readonly string[];
  readonly daemonEnv: Readonly<Record<string, string>>;
  readonly runtimeBases: CoordinatorOptions['runtimeBases'];
  readonly openapiPath: string;
  readonly createLog: (level: string) => Log;
  /** Writes to stderr, for a person. Synchronous. */
  readonly say: (text: string) => void;
  /** Writes to stdout: the command's result. Synchronous. */
  readonly print: (text: string) => void;
}
