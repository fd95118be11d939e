// Asks the daemon program which agent it would run, without a daemon: how an agent is found is the daemon's knowledge.
import { execFile } from 'node:child_process';

export interface AgentCheck {
  /** The agent's program and arguments; null when no agent can be run. */
  readonly command: readonly string[] | null;
  /** What is missing and what to do; null when nothing is. */
  readonly problem: string | null;
}

export interface AgentQuestion {
  readonly daemonCommand: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  /** As the `--agent` flag takes it. */
  readonly agent: string;
  /** Absolute path: its node_modules are searched too. */
  readonly workspace: string;
  readonly timeoutMs: number;
}

/** Never rejects: a daemon program that cannot answer is a problem of its own. */
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
    // The program printed no answer; its stderr has the reason.
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
