// Exit codes of qwen-coordinator, as docs/operations.md lists them.

export const EXIT = {
  ok: 0,
  /** Something that should not happen; stderr tells. `doctor`: a check failed. */
  unexpected: 1,
  /**
   * A flag, an argument, a variable or a directory of the configuration is wrong, the running coordinator refuses what was
   * asked, or the database is a newer release's.
   */
  usage: 2,
  /** Another coordinator has the state directory, or another process the address. */
  taken: 3,
  /** `status` and `stop`: no coordinator runs on this state directory. */
  notRunning: 4,
  /** A second signal cut the orderly stop short. */
  killed: 5,
  /** Ended in order, and left its daemons running as it was asked to. */
  left: 6,
} as const;

export type ExitCode = (typeof EXIT)[keyof typeof EXIT];

/** An end with a message for a person. */
export class CommandError extends Error {
  readonly exitCode: ExitCode;
  constructor(exitCode: ExitCode, message: string) {
    super(message);
    this.name = 'CommandError';
    this.exitCode = exitCode;
  }
}
