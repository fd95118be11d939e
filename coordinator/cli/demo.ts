// `qwen-coordinator demo`: runs a coordinator with two workspaces and the demo agent in a temporary directory, and shows a
// conversation in each. Leaves no file and no process behind.
import { mkdirSync, mkdtempSync, realpathSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Coordinator } from '../app.ts';
import { parseConfig } from '../config.ts';
import { type DemoConversation, openSession } from './demo-client.ts';
import type { Runtime } from './runtime.ts';
import { table } from './table.ts';

const PROMPTS = ['Hello! What are you?', 'Please edit the readme for me.'];

type DemoRuntime = Omit<Runtime, 'cwd' | 'say' | 'runtimeBases'>;

/** Runs the demo to its end. @throws Error when a step fails; before that, all processes are stopped and all files removed. */
export async function demo(runtime: DemoRuntime): Promise<void> {
  const scratch = mkdtempSync(join(realpathSync(tmpdir()), 'qwen-demo-'));
  const workspaces = ['alpha', 'beta'].map((name) => join(scratch, name));
  const runDir = join(scratch, 'run');
  const onSignal = new AbortController();
  const abort = () => onSignal.abort(new Error('interrupted'));
  process.once('SIGINT', abort).once('SIGTERM', abort);
  let coordinator: Coordinator | undefined;
  try {
    for (const path of [...workspaces, runDir]) mkdirSync(path, { mode: 0o700 });
    coordinator = Coordinator.open({
      version: runtime.version,
      daemonCommand: runtime.daemonCommand,
      daemonEnv: runtime.daemonEnv,
      openapiPath: runtime.openapiPath,
      config: parseConfig(
        { workspace: workspaces, agent: 'demo', port: '0', 'state-dir': join(scratch, 'state') },
        {},
        scratch,
      ),
      runtimeBases: { xdgRuntimeDir: runDir, tmpDir: runDir },
      log: runtime.createLog('warn'),
      requestStop: abort,
    });
    await coordinator.start();
    await tour(`http://127.0.0.1:${coordinator.port}`, workspaces, runtime, onSignal.signal);
  } finally {
    await coordinator?.stop();
    rmSync(scratch, { recursive: true, force: true });
  }
  runtime.print('\nEverything was stopped and removed. Next: qwen-coordinator start --workspace DIR\n');
}

async function tour(
  base: string,
  workspaces: readonly string[],
  runtime: Pick<Runtime, 'print'>,
  signal: AbortSignal,
): Promise<void> {
  runtime.print(`One coordinator on ${base}, two workspaces, each with its own daemon and agent.\n`);
  const sessions: DemoConversation[] = [];
  for (const [index, workspace] of workspaces.entries()) {
    const session = await openSession(base, workspace, signal);
    sessions.push(session);
    await converse(session, workspace, PROMPTS[index] ?? 'Hello!', runtime);
  }
  runtime.print(`\n${await daemonTable(base, signal)}`);
  for (const session of sessions) await session.close();
}

async function converse(
  session: DemoConversation,
  workspace: string,
  text: string,
  runtime: Pick<Runtime, 'print'>,
): Promise<void> {
  runtime.print(`\n[${workspace}] session ${session.sessionId}\n> ${text}\n`);
  for await (const event of session.prompt(text)) {
    if (event.type === 'text') runtime.print(event.text);
    else if (event.type === 'tool') runtime.print(`\n  (tool: ${event.title})\n`);
    else {
      const { optionId, name } = event.options[0] ?? { optionId: '', name: '' };
      runtime.print(`\n  ? ${event.title}: answering "${name}"\n`);
      await session.vote(event.requestId, optionId);
    }
  }
  runtime.print('\n');
}

interface DiagnosedWorkspace {
  readonly cwd: string;
  readonly state: string;
  readonly pid: number | null;
  readonly sessions: number;
  readonly agent: { readonly pid: number } | null;
}

async function daemonTable(base: string, signal: AbortSignal): Promise<string> {
  const response = await fetch(`${base}/admin/diagnostics`, { signal });
  const { workspaces } = (await response.json()) as { workspaces: readonly DiagnosedWorkspace[] };
  const rows = workspaces.map(({ cwd, state, pid, agent, sessions }) =>
    [cwd, state, pid ?? '-', agent?.pid ?? '-', sessions].map(String),
  );
  return table(['WORKSPACE', 'DAEMON', 'PID', 'AGENT PID', 'SESSIONS'], rows);
}
