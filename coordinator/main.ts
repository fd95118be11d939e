#!/usr/bin/env node
// Entry point of qwen-coordinator: argv and environment in, exit code out.
import { writeSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { ConfigError } from '../daemon/contract/flag-values.ts';
import { createLog } from '../daemon/contract/log.ts';
import { CommandError, EXIT, type ExitCode } from './cli/exit-codes.ts';
import { createProgram } from './cli/program.ts';
import type { Runtime } from './cli/runtime.ts';
import { runtimeBases } from './config.ts';
import { strippedEnvironment } from './launch/environment.ts';

/** Measured: a small young generation of the heap saves a daemon 14 MB under load and costs nothing that can be seen. */
const DAEMON_NODE_FLAGS = ['--max-semi-space-size=1'];

const runtime: Runtime = {
  version: process.env.QWEN_COORDINATOR_VERSION ?? 'dev',
  cwd: process.cwd(),
  daemonCommand: [
    process.execPath,
    ...DAEMON_NODE_FLAGS,
    fileURLToPath(new URL('../daemon/main.js', import.meta.url)),
  ],
  daemonEnv: strippedEnvironment(process.env),
  runtimeBases: runtimeBases(process.env),
  openapiPath: fileURLToPath(new URL('../openapi.json', import.meta.url)),
  createLog: (level) => createLog('coordinator', level),
  say,
  print: (text) => writeSync(1, text),
};

/** Writes to stderr. A failure is ignored: a terminal that is gone, or a full disk, is no reason to end the process. */
function say(text: string): void {
  try {
    writeSync(2, text);
  } catch {
    // There is no other stream on which to report the failure.
  }
}

function exitCodeOf(error: unknown): ExitCode {
  if (error instanceof CommandError) return error.exitCode;
  return error instanceof ConfigError ? EXIT.usage : EXIT.unexpected;
}

try {
  const code = await createProgram(runtime, process.env).run(process.argv.slice(2));
  process.exit(code);
} catch (error) {
  const code = exitCodeOf(error);
  const isExpected = code !== EXIT.unexpected || error instanceof CommandError;
  const text = isExpected ? (error as Error).message : ((error as Error).stack ?? String(error));
  runtime.say(`qwen-coordinator: ${text}\n`);
  process.exit(code);
}
