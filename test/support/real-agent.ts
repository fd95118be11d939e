// The real qwen agent behind a daemon of ours, with a scripted model: for tests that ran against nothing written here.
// `QWEN_REAL_AGENT` names its package directory, `QWEN_REAL_AGENT_NODE` the node that runs it (default: this one).
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Server, startDaemon } from './fleet-process.ts';
import { OpenAiServer } from './openai-server.ts';
import { Scratch } from './scratch.ts';

/** Where the agent's package is; undefined: the suite is skipped. */
export const REAL_AGENT: string | undefined = process.env.QWEN_REAL_AGENT;

/** Models that the agent is configured with, by the ids that it gives them. */
export const REAL_MODELS = { first: 'fake(openai)', second: 'other(openai)' } as const;

export interface RealWorld {
  readonly server: Server;
  readonly model: OpenAiServer;
}

/** A daemon with the real agent in a world of its own. The model server is the caller's to close. */
export async function startRealWorld(): Promise<RealWorld> {
  if (REAL_AGENT === undefined) throw new Error('QWEN_REAL_AGENT is not set');
  const model = await OpenAiServer.start();
  const scratch = new Scratch(1);
  const env = agentEnvironment(model.baseUrl);
  const settings = join(scratch.env.HOME ?? '', '.qwen');
  mkdirSync(settings, { recursive: true });
  writeFileSync(join(settings, 'settings.json'), JSON.stringify(settingsFor(model.baseUrl)));
  const node = process.env.QWEN_REAL_AGENT_NODE ?? process.execPath;
  const agent = `${node} ${join(REAL_AGENT, 'cli.js')} --acp`;
  const server = await startDaemon({ agent, env, scratch, flags: ['--initialize-timeout-ms', '30000'] });
  return { server, model };
}

function agentEnvironment(baseUrl: string): Record<string, string> {
  return {
    OPENAI_API_KEY: 'none',
    OPENAI_BASE_URL: baseUrl,
    OPENAI_MODEL: 'fake',
    NO_PROXY: '127.0.0.1',
  };
}

function settingsFor(baseUrl: string): unknown {
  const model = (id: string) => ({ id, envKey: 'OPENAI_API_KEY', baseUrl });
  return {
    security: { auth: { selectedType: 'openai' } },
    modelProviders: { openai: [model('fake'), model('other')] },
    model: { name: 'fake' },
    tools: { approvalMode: 'default' },
    memory: { enableManagedAutoMemory: false },
    ui: { enableFollowupSuggestions: false },
    telemetry: { enabled: false },
    privacy: { usageStatisticsEnabled: false },
    general: { enableAutoUpdate: false, disableAutoUpdate: true },
  };
}
