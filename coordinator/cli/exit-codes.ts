// Exit codes of qwen-coordinator, as docs/operations.md lists them.

export const EXIT = {
  ok: 0,
  /** An unexpected failure, described on stderr. `doctor`: a check failed. `restart`: a daemon was not replaced. */
  unexpected: 1,
  /**
   * A flag, an argument, a variable or a directory of the configuration is wrong; the running coordinator refuses the call; a
   * newer release wrote the database; an older release wrote the database and the copy before its schema changes failed; or no
   * SQLite driver is installed.
   */
  usage: 2,
  /** Another coordinator uses the state directory, or another process listens on the address. */
  taken: 3,
  /** The command needs a running coordinator, and none runs on this state directory. */
  notRunning: 4,
  /** A second signal cut the orderly stop short. */
  killed: 5,
  /** The coordinator ended cleanly and left its daemons running, as requested with `--leave-daemons`. */
  left: 6,
} as const;

export type ExitCode = (typeof EXIT)[keyof typeof EXIT];

/** Ends the process with this exit code, and with its message for a person on stderr. */
export class CommandError extends Error {
  readonly exitCode: ExitCode;
  constructor(exitCode: ExitCode, message: string) {
    super(message);
    this.name = 'CommandError';
    this.exitCode = exitCode;
  }
}
