// One command line of the built coordinator, run to its end as a person or a service manager would.
import { execFile } from 'node:child_process';
import { binaryPath } from './fleet-process.ts';
import type { Scratch } from './scratch.ts';

const COMMAND_TIMEOUT_MS = 60_000;

export interface CommandEnd {
  /** Null when it was killed for taking too long. */
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs `qwen-coordinator` in the world of `scratch`; a variable that is undefined is not set. */
export function runCommand(
  scratch: Scratch,
  args: readonly string[],
  env: Readonly<Record<string, string | undefined>> = {},
): Promise<CommandEnd> {
  return new Promise((resolve) => {
    const child = execFile(
      process.execPath,
      [binaryPath('coordinator'), ...args],
      {
        cwd: scratch.dir,
        env: { ...scratch.env, ...env },
        timeout: COMMAND_TIMEOUT_MS,
        killSignal: 'SIGKILL',
      },
      (_error, stdout, stderr) => resolve({ code: child.exitCode, stdout, stderr }),
    );
  });
}
