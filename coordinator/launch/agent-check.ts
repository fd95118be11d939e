// Runs the daemon program with `--check-agent`, which prints the agent that a daemon would run and exits: only the daemon
// program knows how an agent is found.
import { execFile } from 'node:child_process';

export interface AgentCheck {
  /** The agent's program and arguments; null when no agent can be run. */
  readonly command: readonly string[] | null;
  /** What the agent lacks and what the operator can do; null when the agent can be run. */
  readonly problem: string | null;
}

export interface AgentQuestion {
  readonly daemonCommand: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  /** An agent profile, as the `--agent` flag takes it. */
  readonly agent: string;
  /** Absolute path of the workspace, whose node_modules are searched for the agent too. */
  readonly workspace: string;
  readonly timeoutMs: number;
}

/** Which agent the daemon program would run for this workspace. Never rejects: a program that prints no answer is a `problem`. */
export function checkAgent(question: AgentQuestion): Promise<AgentCheck> {
  const { env, agent, workspace, timeoutMs } = question;
  const [program = '', ...first] = question.daemonCommand;
  const args = [...first, '--check-agent', '--agent', agent, '--workspace', workspace];
  return new Promise((resolve) => {
    execFile(program, args, { env, timeout: timeoutMs, killSignal: 'SIGKILL' }, (error, stdout, stderr) => {
      resolve(parsed(stdout) ?? { command: null, problem: words(error, stderr, timeoutMs) });
    });
  });
}

function parsed(stdout: string): AgentCheck | undefined {
  try {
    const { command, problem } = JSON.parse(stdout) as Partial<AgentCheck>;
    return { command: command ?? null, problem: problem ?? null };
  } catch {
    // The daemon program printed no JSON; its stderr has the reason.
    return undefined;
  }
}

function words(
  error: { killed?: boolean; message: string } | null,
  stderr: string,
  timeoutMs: number,
): string {
  if (error?.killed === true) return `the daemon program did not answer within ${timeoutMs} ms`;
  return `the daemon program could not be queried: ${stderr.trim() || (error?.message ?? 'no output')}`;
}
