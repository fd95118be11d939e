// The process's surroundings, as commands get them. Made once in main.ts, so that no command reads argv or the environment; each
// command names the members that it needs.
import type { Log } from '../../daemon/contract/log.ts';
import type { CoordinatorOptions } from '../app.ts';

export interface Runtime {
  readonly version: string;
  /** Directory that relative paths are resolved against. */
  readonly cwd: string;
  /** Program and first arguments of a daemon. */
  readonly daemonCommand: readonly string[];
  /** Environment for daemons, without the coordinator's secrets. */
  readonly daemonEnv: Readonly<Record<string, string>>;
  /** Directories under which the runtime directory is made. */
  readonly runtimeBases: CoordinatorOptions['runtimeBases'];
  /** Path of the API description, a JSON file. */
  readonly openapiPath: string;
  readonly createLog: (level: string) => Log;
  /** Writes to stderr, for a person. Synchronous. */
  readonly say: (text: string) => void;
  /** Writes to stdout: the command's result. Synchronous. */
  readonly print: (text: string) => void;
}
