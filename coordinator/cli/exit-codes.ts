// Exit codes of qwen-coordinator, as docs/operations.md lists them.

export const EXIT = {
  ok: 0,
  /** An unexpected failure, see stderr. `doctor`: a check failed. `restart`: a daemon was not replaced. */
  unexpected: 1,
  /**
   * A flag, an argument, a variable or a directory of the configuration is wrong, the running coordinator refuses what was
   * asked, a newer release wrote the database, an older one did and it cannot be copied before its schema changes, or no
   * SQLite driver is installed.
   */
  usage: 2,
  /** Another coordinator has the state directory, or another process the address. */
  taken: 3,
  /** A command that asks the running coordinator: none runs on this state directory. */
  notRunning: 4,
  /** A second signal cut the orderly stop short. */
  killed: 5,
  /** Exited cleanly, and left its daemons running as requested. */
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
