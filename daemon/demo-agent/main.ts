// The demo agent's process: a real ACP agent on stdio that needs no account and no network, for a first try and for tests.
// The only file of the demo agent that reads argv and the environment.
import { Readable, Writable } from 'node:stream';
import { parseArgs } from 'node:util';
import { ndJsonStream } from '@agentclientprotocol/sdk';
import { demoAgent } from './app.ts';
import { DemoTranscripts } from './transcripts.ts';

const USAGE = `usage: demo-agent [--delay-ms N] [--state-dir DIR]

Speaks the Agent Client Protocol on stdin and stdout.
  --delay-ms N     pause between the words of a "slow" answer (default 300; also QWEN_DEMO_DELAY_MS)
  --state-dir DIR  keep transcripts there, so that sessions can be loaded after a restart (default: in memory)
`;

interface Settings {
  readonly delayMs: number;
  readonly stateDir: string | undefined;
}

function readSettings(): Settings {
  const options = { 'delay-ms': { type: 'string' }, 'state-dir': { type: 'string' } } as const;
  // `--acp` has no effect. It is accepted because other agents need it, so that one command line fits all.
  const { values } = parseArgs({ options: { ...options, acp: { type: 'boolean' } } });
  const delay = values['delay-ms'] ?? process.env.QWEN_DEMO_DELAY_MS ?? '300';
  if (!/^\d{1,6}$/.test(delay)) throw new Error(`--delay-ms must be a whole number, got "${delay}"`);
  return { delayMs: Number(delay), stateDir: values['state-dir'] };
}

async function main(): Promise<number> {
  let settings: Settings;
  try {
    settings = readSettings();
  } catch (error) {
    process.stderr.write(`${(error as Error).message}\n${USAGE}`);
    return 2;
  }
  const app = demoAgent({ delayMs: settings.delayMs, transcripts: new DemoTranscripts(settings.stateDir) });
  const input = Readable.toWeb(process.stdin) as ReadableStream<Uint8Array>;
  await app.connect(ndJsonStream(Writable.toWeb(process.stdout), input)).closed;
  return 0;
}

// Exits although a turn may still run: its timers would keep the process alive after the client has closed the connection.
process.exit(await main());
