// An AgentHost over the stub agent, with a sink that keeps everything in the order in which it came.
import { mkdtempSync, realpathSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import {
  AgentCallError,
  type AgentChannel,
  type AgentExit,
  type AgentHost,
  type AgentSink,
  METHOD_NOT_FOUND,
  type Params,
} from '../../daemon/agent/agent.ts';
import type { AgentLaunch } from '../../daemon/agent/children.ts';
import { type AgentHostDeps, createAgentHost } from '../../daemon/agent/host.ts';
import { systemClock } from '../../daemon/contract/clock.ts';
import { createLog } from '../../daemon/contract/log.ts';
import { isAlive, readProcStat } from '../../daemon/contract/proc.ts';

export const STUB_AGENT = fileURLToPath(new URL('./stub-agent.mjs', import.meta.url));

export type Seen =
  | { readonly kind: 'update'; readonly sessionId: string; readonly params: Params }
  | { readonly kind: 'notification' | 'request'; readonly method: string; readonly params: Params }
  | { readonly kind: 'exited'; readonly exit: AgentExit }
  | { readonly kind: 'note'; readonly text: string };

export class RecordingSink implements AgentSink {
  readonly seen: Seen[] = [];
  /** Answers the agent's calls; the default knows none. */
  answer: (method: string, params: Params) => Promise<unknown> = (method) =>
    Promise.reject(new AgentCallError(METHOD_NOT_FOUND, `Method not found: ${method}`));

  update(sessionId: string, params: Params): void {
    this.seen.push({ kind: 'update', sessionId, params });
  }

  notification(method: string, params: Params): void {
    this.seen.push({ kind: 'notification', method, params });
  }

  request(method: string, params: Params): Promise<unknown> {
    this.seen.push({ kind: 'request', method, params });
    return this.answer(method, params);
  }

  exited(_channel: AgentChannel, exit: AgentExit): void {
    this.seen.push({ kind: 'exited', exit });
  }

  /** Marks where the test itself is in the order. */
  note(text: string): void {
    this.seen.push({ kind: 'note', text });
  }

  get exits(): AgentExit[] {
    return this.seen.flatMap((entry) => (entry.kind === 'exited' ? [entry.exit] : []));
  }

  /** The updates' `update` fields. */
  get updates(): Record<string, unknown>[] {
    return this.seen.flatMap((entry) =>
      entry.kind === 'update' ? [entry.params.update as Record<string, unknown>] : [],
    );
  }

  /** The text of all chunks, in order. */
  get texts(): string[] {
    return this.updates.flatMap((update) => {
      const text = (update.content as { text?: unknown } | undefined)?.text;
      return typeof text === 'string' ? [text] : [];
    });
  }
}

export interface StubHost {
  readonly host: AgentHost;
  readonly sink: RecordingSink;
  readonly workspace: string;
  /** What was logged so far, parsed. */
  readonly logged: Record<string, unknown>[];
  /** Stops the host and removes the workspace. */
  close(): Promise<void>;
}

/** `args` are switches of the stub; `overrides` replace single options of the host. */
export function startStubHost(
  args: readonly string[] = [],
  overrides: Partial<AgentLaunch & AgentHostDeps> = {},
): StubHost {
  const workspace = realpathSync(mkdtempSync(join(tmpdir(), 'agent-test-')));
  const sink = new RecordingSink();
  const logged: Record<string, unknown>[] = [];
  const options = {
    profile: () => ({
      configured: 'stub',
      command: [process.execPath, STUB_AGENT, ...args],
      problem: undefined,
      env: {},
    }),
    workspace,
    env: { PATH: process.env.PATH },
    version: '0.0.0-test',
    limits: { initializeTimeoutMs: 10_000, agentStdinGraceMs: 300, agentKillGraceMs: 300 },
    clock: systemClock,
    log: createLog('test', 'debug', { write: (line: string) => void logged.push(JSON.parse(line)) }),
    sink,
    sessionsOn: () => 0,
    ...overrides,
  };
  const host = createAgentHost(options, options);
  const close = async () => {
    await host.stop();
    rmSync(workspace, { recursive: true, force: true });
  };
  return { host, sink, workspace, logged, close };
}

export async function openSession(channel: AgentChannel, cwd: string): Promise<string> {
  const answer = await channel.request('session/new', { cwd, mcpServers: [] }, 20_000);
  return (answer as { sessionId: string }).sessionId;
}

export function sendPrompt(
  channel: AgentChannel,
  sessionId: string,
  text: string,
  timeoutMs?: number,
): Promise<unknown> {
  return channel.request('session/prompt', { sessionId, prompt: [{ type: 'text', text }] }, timeoutMs);
}

/** Polls until `condition` holds. Throws what it waited for after twenty seconds. */
export async function until(what: string, condition: () => boolean): Promise<void> {
  const deadline = performance.now() + 20_000;
  while (!condition()) {
    if (performance.now() > deadline) throw new Error(`waited in vain for: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

export function isRunning(pid: number): boolean {
  const stat = readProcStat(pid);
  return stat !== undefined && isAlive(stat);
}

/** Pids that the stub reported as `child:<pid>` in its chunks. */
export function reportedChildren(sink: RecordingSink): number[] {
  return sink.texts.flatMap((text) => (text.startsWith('child:') ? [Number(text.slice(6))] : []));
}
