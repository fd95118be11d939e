#!/usr/bin/env node
// Entry point of qwen-daemon. Exit codes: 0 clean end; 1 unexpected failure; 2 bad arguments or settings; 3 workspace or address
// taken.
import { writeSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { Daemon, type DaemonFiles, diagnoseAgent } from './app.ts';
import { coordinatedConfig, type DaemonConfig, parseArguments, standaloneConfig } from './config.ts';
import { urlHost } from './contract/access.ts';
import { ConfigError } from './contract/flag-values.ts';
import { CONTRACT_VERSION } from './contract/handshake.ts';
import { createLog, type Log } from './contract/log.ts';
import { ListenError } from './http/listen.ts';
import { type Handshake, readHandshake } from './process/handshake.ts';
import { WorkspaceLocked } from './process/workspace-lock.ts';
import { usage } from './usage.ts';

const FILES: DaemonFiles = {
  packageRoot: fileURLToPath(new URL('../..', import.meta.url)),
  demoAgent: fileURLToPath(new URL('./demo-agent/main.js', import.meta.url)),
  openapi: fileURLToPath(new URL('../openapi.json', import.meta.url)),
  version: process.env.QWEN_COORDINATOR_VERSION ?? 'dev',
  path: process.env.PATH,
};

async function main(): Promise<void> {
  const args = parseArguments(process.argv.slice(2));
  if (args.values.help === true) return say(1, usage());
  if (args.values.version === true) return say(1, `${FILES.version}\n`);
  if (args.values['check-agent'] === true)
    return say(1, `${JSON.stringify(diagnoseAgent(standaloneConfig(args, process.env), FILES))}\n`);
  if (args.incarnation === undefined) await runStandalone(standaloneConfig(args, process.env));
  else await runCoordinated(await readHandshake());
}

async function runStandalone(config: DaemonConfig): Promise<void> {
  const daemon = await run(config);
  const { listen, workspace } = config;
  const where = listen.kind === 'unix' ? listen.path : `http://${urlHost(listen.host)}:${daemon.port}`;
  say(2, `qwen-daemon bound to workspace ${workspace}, listening on ${where}\n`);
}

async function runCoordinated(handshake: Handshake): Promise<void> {
  const { incarnation, socket } = handshake.request;
  try {
    const config = coordinatedConfig(handshake.request, process.env);
    const daemon = await run(config);
    say(2, `qwen-daemon bound to workspace ${config.workspace}, incarnation ${incarnation}\n`);
    const { pid } = process;
    const { version } = FILES;
    const { startTime } = daemon;
    await handshake.answer({
      ready: true,
      contract: CONTRACT_VERSION,
      pid,
      startTime,
      socket,
      incarnation,
      version,
    });
  } catch (error) {
    await handshake.answer({ ready: false, error: (error as Error).message });
    throw error;
  }
}

async function run(config: DaemonConfig): Promise<Daemon> {
  const log = createLog('daemon', config.logLevel);
  const end = (code: number, why: string) => endWith(daemon, code, why, log);
  const daemon = new Daemon(config, FILES, log, (why) => end(0, why));
  listenToSignals(daemon, end, log);
  await daemon.start();
  return daemon;
}

let isEnding = false;

/**
 * Stops the daemon and exits with `code`, or with 1 after killing the agent when the daemon cannot be stopped. Does nothing when
 * the shutdown has begun already.
 */
function endWith(daemon: Daemon, code: number, why: string, log: Log): void {
  if (isEnding) return;
  isEnding = true;
  log.info({ why }, 'ending');
  daemon.stop().then(
    () => process.exit(code),
    (error: unknown) => {
      log.fatal({ err: error }, 'orderly shutdown failed');
      daemon.killNow();
      process.exit(1);
    },
  );
}

function listenToSignals(daemon: Daemon, end: (code: number, why: string) => void, log: Log): void {
  for (const signal of ['SIGTERM', 'SIGINT'] as const)
    process.on(signal, () => {
      if (isEnding) {
        daemon.killNow();
        process.exit(1);
      }
      end(0, signal);
    });
  // SIGHUP is ignored: a stand-alone daemon outlives its terminal like any server, and a coordinator's daemon has no terminal.
  process.on('SIGHUP', () => undefined);
  process.on('uncaughtException', (error) => {
    log.fatal({ err: error }, 'unexpected failure');
    daemon.killNow();
    process.exit(1);
  });
}

/** Writes to stdout (1) or stderr (2), synchronously, so that the text is out before the process exits. */
function say(fd: 1 | 2, text: string): void {
  writeSync(fd, text);
}

main().catch((error: unknown) => {
  const isExpected =
    error instanceof ConfigError || error instanceof ListenError || error instanceof WorkspaceLocked;
  const text = isExpected ? error.message : ((error as Error).stack ?? String(error));
  say(2, `qwen-daemon: ${text}\n`);
  process.exit(error instanceof ConfigError ? 2 : isExpected ? 3 : 1);
});
